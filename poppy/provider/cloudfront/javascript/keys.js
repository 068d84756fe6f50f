// KEYS are [pattern, null or [whether the listed parameters are kept, names]]: the most specific first.

function isListed(names, name) {
    return names.some(function (it) {
        return it.endsWith('*') ? name.indexOf(it.slice(0, -1)) === 0 : name === it;
    });
}

// Remove parameters that make no difference from requests that the cache may answer.
function narrow(event) {
    var request = event.request, path = normal(request.uri), i = 0;
    if (request.method !== 'GET' && request.method !== 'HEAD') return;
    while (!matches(KEYS[i][0], path)) i++;
    var rule = KEYS[i][1], text = query(request);
    if (!rule || !text) return;
    request.querystring = text.split('&').filter(function (part) {
        return isListed(rule[1], unescaped(part.split('=')[0])) === rule[0];
    }).join('&');
}
