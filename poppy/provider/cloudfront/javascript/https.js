// The redirect to HTTPS with a status that the distribution does not have.
function upgrade(event) {
    var request = event.request, scheme = request.headers['cloudfront-forwarded-proto'];
    if (!scheme || scheme.value === 'https') return;
    var sent = request.rawQueryString();
    var location = 'https://' + request.headers.host.value + request.uri
        + (sent === undefined ? '' : '?' + sent);
    return reply(UPGRADE, 'Redirect', { location: { value: location } });
}
