// REDIRECTS are [place, location, status], the most specific place first.

// Captures can't change the host, end the path or the query, or begin a fragment.
function filled(text, texts, quote) {
    return text.replace(/\$([1-9])/g, function (all, number) { return quote(texts[number - 1]); });
}

function pathQuoted(text) { return encodeURI(text).replace(/[?#]/g, encodeURIComponent); }

function redirect(event) {
    var request = event.request, texts = null, i = -1;
    while (!texts && ++i < REDIRECTS.length) texts = found(REDIRECTS[i][0], request);
    if (!texts) return;
    var parts = /^([^?#]*)(\?[^#]*)?(.*)$/.exec(REDIRECTS[i][1]), sent = query(request);
    var more = filled(parts[2] || '', texts, encodeURIComponent);
    if (!parts[2] && REDIRECTS[i][0].length < 2 && sent) more = '?' + sent;
    var location = filled(parts[1], texts, pathQuoted).replace(/^\/+/, '/') + more
        + filled(parts[3], texts, encodeURIComponent);
    return reply(REDIRECTS[i][2], 'Redirect', { location: { value: location } });
}
