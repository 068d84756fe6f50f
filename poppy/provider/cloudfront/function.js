// Runs at every viewer request, before the cache (CloudFront Functions, runtime 2.0).
// Above this are UNTRUSTED and the service's own tables: LISTS with restrictions.js, and CHOICES and
// ROUTES with routing.js. Services that need neither have no such code.

// Return whether text matches a pattern; * matches any run of characters.
function matches(pattern, text) {
    var parts = pattern.split('*'), last = parts.pop(), at = 0;
    if (!parts.length) return text === last;
    for (var i = 0; i < parts.length; i++) {
        var found = text.indexOf(parts[i], at);
        if (found < 0 || (i === 0 && found > 0)) return false;
        at = found + parts[i].length;
    }
    return text.length - last.length >= at && text.endsWith(last);
}

// Header fields that origins believe and that no cache key holds; _ is - to some origins.
function distrust(headers) {
    Object.keys(headers).forEach(function (name) {
        var plain = name.replace(/_/g, '-');
        if (plain.indexOf('x-forwarded') === 0 || UNTRUSTED.indexOf(plain) >= 0) {
            delete headers[name];
        }
    });
}

function handler(event) {
    var request = event.request;
    distrust(request.headers);
    if (LISTS.length) {
        var path = plain(request.uri);
        if (path === null) {
            return { statusCode: 400, statusDescription: 'Bad Request' };
        }
        if (refused(event, path)) return { statusCode: 403, statusDescription: 'Forbidden' };
    }
    if (ROUTES.length) route(request);
    return request;
}
