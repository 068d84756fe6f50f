// CORS has origins, credentials, expose, and preflight: fields of answers to preflight requests.
// Fetch Standard, section 3.2.

function share(request, headers) {
    var any = CORS.origins[0] === '*', origin = any ? '*' : (request.headers.origin || {}).value;
    var vary = headers.vary ? headers.vary.value + ', ' : '';
    if (!any) headers.vary = { value: vary + 'Origin' };
    if (CORS.origins.indexOf(origin) < 0) return false;
    headers['access-control-allow-origin'] = { value: origin };
    if (CORS.credentials) headers['access-control-allow-credentials'] = { value: 'true' };
    return true;
}

function preflight(event) {
    var request = event.request, headers = {};
    if (request.method !== 'OPTIONS' || !request.headers.origin
        || !request.headers['access-control-request-method']) return;
    if (!share(request, headers)) return reply(403, 'Forbidden', headers);
    return reply(204, 'No Content', Object.assign(headers, CORS.preflight));
}

function shareResponse(event, response) {
    var headers = response.headers;
    Object.keys(headers).forEach(function (name) {
        if (name.indexOf('access-control-') === 0) delete headers[name];
    });
    if (share(event.request, headers) && CORS.expose) {
        headers['access-control-expose-headers'] = { value: CORS.expose };
    }
}
