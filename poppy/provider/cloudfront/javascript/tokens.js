// Tokens of signed URLs (doc/source/signed-urls.rst): TOKENS has name, keys and patterns.

// Paths as texts of bytes, which need not be UTF-8.
function bytes(path) {
    return path.replace(/[^\x00-\x7f]+/g, encodeURIComponent).replace(/%([0-9a-f]{2})/gi, function (all, digits) {
        return String.fromCharCode(parseInt(digits, 16));
    }).replace(/\/+/g, '/');
}

function bare(path) { return path.replace(/;[^\/]*/g, ''); }

// The path as origins may read it that decode it once or several times; null if that is not clear.
function readings(path) {
    var all = [], layer = [path], clear = true;
    for (var n = 0; n < 5 && layer.length; n++) {
        var next = [];
        layer.forEach(function (text) {
            var whole = bytes(text);
            [whole, bytes(bare(text)), bytes(bare(whole))].forEach(function (it) {
                if (all.indexOf(it) >= 0) return;
                all.push(it);
                next.push(it);
                if (/\\|\/\.\.?\//.test(it + '/')) clear = false;
            });
        });
        layer = next;
    }
    return clear && !layer.length ? all : null;
}

function isWithin(scope, path, all) {
    if (scope[0] !== '/') return false;
    if (!scope.endsWith('*')) return bytes(scope) === bytes(path);
    var prefix = bytes(scope.slice(0, -1));
    return all !== null && all.every(function (it) { return it.indexOf(prefix) === 0; });
}

// Take the same time wherever texts differ.
function same(one, other) {
    var difference = one.length ^ other.length;
    for (var i = 0; i < one.length; i++) {
        difference |= one.charCodeAt(i) ^ other.charCodeAt(i % other.length);
    }
    return difference === 0;
}

// Remove the token from the request, and return it.
function take(request) {
    var token, text = query(request), cookie = request.cookies[TOKENS.name];
    var rest = text.split('&').filter(function (part) {
        var at = (part + '=').indexOf('=');
        if (unescaped(part.slice(0, at)) !== TOKENS.name) return true;
        if (token === undefined) token = part.slice(at + 1);
        return false;
    });
    if (token !== undefined) request.querystring = rest.join('&');
    delete request.cookies[TOKENS.name];
    return token === undefined ? cookie && cookie.value : token;
}

function decoded(text) { return Buffer.from(text, 'base64url').toString(); }

// 0 for a valid token, otherwise the status of the answer.
function problem(event, token, all) {
    var form = /^(([\w-]+)\.(\d{1,12})\.([\w-]*)\.([\w-]+))\.([\w-]+)$/.exec(token || '');
    if (!form || token.length > 4096 || !TOKENS.keys.hasOwnProperty(form[2])) return 403;
    var wanted = crypto.createHmac('sha256', TOKENS.keys[form[2]]).update(form[1]);
    if (!same(wanted.digest('base64url'), form[6])) return 403;
    var client = form[4] && groups(decoded(form[4])).join();
    if (client && client !== groups(event.viewer.ip).join()) return 403;
    if (!isWithin(decoded(form[5]), event.request.uri, all)) return 403;
    return Date.now() >= form[3] * 1000 ? 410 : 0;
}

function admit(event) {
    var token = take(event.request), all = readings(event.request.uri);
    var open = all !== null && !all.some(function (it) {
        return TOKENS.patterns.some(function (pattern) { return matches(pattern, it); });
    });
    var status = open ? 0 : problem(event, token, all);
    if (status) return reply(status, status === 410 ? 'Gone' : 'Forbidden');
}
