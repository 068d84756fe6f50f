// The query as it is sent to the cache: that of the client, or what an earlier step has made of it.
function query(request) {
    var text = request.querystring;
    return typeof text === 'string' ? text : request.rawQueryString() || '';
}

// Percent-decode a text, if it is UTF-8.
function unescaped(text) {
    try {
        return decodeURIComponent(text);
    } catch (e) {
        return text;
    }
}
