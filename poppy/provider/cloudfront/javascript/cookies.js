// COOKIES are [pattern, names of the cookies that make a difference, or null], the most specific first.
function pick(event) {
    var request = event.request, path = normal(request.uri), i = 0, kept = {};
    if (request.method !== 'GET' && request.method !== 'HEAD') return;
    while (!matches(COOKIES[i][0], path)) i++;
    if (!COOKIES[i][1]) return;
    COOKIES[i][1].forEach(function (name) {
        if (request.cookies.hasOwnProperty(name)) kept[name] = request.cookies[name];
    });
    request.cookies = kept;
}
