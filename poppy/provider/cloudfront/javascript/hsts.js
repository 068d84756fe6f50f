// Strict-Transport-Security, over HTTPS only (RFC 6797, section 7.2). BY_SCHEME tells whether the
// distribution answers requests over HTTP too.
function secure(event, response) {
    var scheme = event.request.headers['cloudfront-forwarded-proto'];
    if (BY_SCHEME && !(scheme && scheme.value === 'https')) return;
    response.headers['strict-transport-security'] = { value: HSTS };
}
