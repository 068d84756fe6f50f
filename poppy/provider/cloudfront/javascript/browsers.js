// BROWSERS are [pattern, seconds or null], the most specific first.
function browse(event, response) {
    var path = normal(event.request.uri), i = 0, status = response.statusCode;
    while (!matches(BROWSERS[i][0], path)) i++;
    // Successes and permanent redirects.
    if (BROWSERS[i][1] === null || (status > 299 && status !== 301 && status !== 308)) return;
    delete response.headers.expires;
    // From the cache, it would count against the time.
    delete response.headers.age;
    response.headers['cache-control'] = { value: 'max-age=' + BROWSERS[i][1] };
}
