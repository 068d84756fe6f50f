// The path as CloudFront compares it with the patterns of behaviors, so that origin and TTL agree:
// normalized (RFC 3986, section 6.2.2), and // as /.
function normal(uri) {
    var kept = [];
    uri.replace(/%[0-9a-f]{2}/gi, function (code) {
        var character = String.fromCharCode(parseInt(code.slice(1), 16));
        return /[\w.~-]/.test(character) ? character : code;
    }).replace(/\/+/g, '/').split('/').forEach(function (part, i, all) {
        var isDots = part === '.' || part === '..';
        if (part === '..' && kept.length > 1) kept.pop();
        if (!isDots) kept.push(part);
        else if (i === all.length - 1) kept.push('');
    });
    return kept.join('/');
}
