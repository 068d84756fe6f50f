// Restrictions by path. LISTS holds the rules of each access list, by kind, as pairs: some paths, and
// the values that apply to each of them.

// A path as an origin would read it: percent-encoded or not, and // as /.
// None if two servers may read it in two ways.
function plain(uri) {
    try {
        var path = decodeURIComponent(uri).replace(/\/+/g, '/');
        return /^[^\/]|[\x00-\x1f\x7f\\]|\/\.{1,2}([\/;]|$)/.test(path) ? null : path;
    } catch (e) {
        return null;
    }
}

// Return whether an address (groups) is in a network ([groups, prefix length]).
function within(address, network) {
    var bits = network[1];
    if (address.length !== network[0].length) return false;
    for (var i = 0; i < address.length && bits > 0; i++, bits -= 16) {
        var drop = bits < 16 ? 16 - bits : 0;
        if (address[i] >> drop !== network[0][i] >> drop) return false;
    }
    return true;
}

function header(request, name) {
    return request.headers[name] ? request.headers[name].value : '';
}

// By kind: returns a function that tells whether one of a rule's values matches the client.
var KINDS = {
    client_ip: function (event) {
        var address = groups(event.viewer.ip);
        return function (networks) {
            return networks.some(function (network) { return within(address, network); });
        };
    },
    referrer: function (event) {
        var from = /^https?:\/\/(?:[^\/?#@\\]*@)?([^\/?#@:\\]+?)\.?(?::\d*)?(?:[\/?#]|$)/i.exec(
            header(event.request, 'referer'));
        var host = from ? '.' + from[1].toLowerCase() : '';
        return function (names) {
            return names.some(function (name) { return host.endsWith('.' + name); });
        };
    },
    geography: function (event) {
        var country = header(event.request, 'cloudfront-viewer-country');
        // The codes of two letters are one string.
        return function (codes) {
            var at = country ? codes.indexOf(country) : -1;
            while (at % 2 > 0) at = codes.indexOf(country, at + 1);
            return at >= 0;
        };
    }
};

function refused(event, path) {
    // Some origins drop the parameters of segments.
    var bare = path.replace(/;[^\/]*/g, '');
    function reaches(pattern) { return matches(pattern, path) || matches(pattern, bare); }
    for (var i = 0; i < LISTS.length; i++) {
        var list = LISTS[i], isAbout = KINDS[list.kind](event), concerned = false, meant = false;
        for (var j = 0; j < list.rules.length && !meant; j++) {
            if (list.rules[j][0].some(reaches)) {
                concerned = true;
                meant = isAbout(list.rules[j][1]);
            }
        }
        if (list.access === 'whitelist' ? concerned && !meant : meant) return true;
    }
    return false;
}

function restrict(event) {
    var path = plain(event.request.uri);
    if (path === null) return reply(400, 'Bad Request');
    if (refused(event, path)) return reply(403, 'Forbidden');
}
