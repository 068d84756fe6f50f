// Patterns of a path and perhaps a query, as [path, query]; both are percent-decoded.

// Return the texts of the wildcards; null if the request is not meant. Some origins drop the
// parameters of segments.
function found(place, request) {
    var path = unescaped(request.uri).replace(/\/+/g, '/');
    var texts = captured(place[0], path) || captured(place[0], path.replace(/;[^\/]*/g, ''));
    if (!texts || place.length < 2) return texts;
    var more = captured(place[1], unescaped(query(request)));
    return more && texts.concat(more);
}
