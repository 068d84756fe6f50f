// CHANGES are [places, names to remove, fields to set, fields to add] in their order; no places mean
// all requests. Cookies are no header fields of an event.

function change(event, message, cookie) {
    CHANGES.forEach(function (it) {
        var headers = message.headers;
        function meant(place) { return found(place, event.request); }
        if (it[0].length && !it[0].some(meant)) return;
        it[1].forEach(function (name) {
            if (name === cookie) message.cookies = {};
            delete headers[name];
        });
        Object.keys(it[2]).forEach(function (name) { headers[name] = { value: it[2][name] }; });
        Object.keys(it[3]).forEach(function (name) {
            var before = headers[name], value = { value: it[3][name] };
            if (!before) headers[name] = value;
            else before.multiValue = (before.multiValue || [{ value: before.value }]).concat(value);
        });
    });
}

function changeRequest(event) { change(event, event.request, 'cookie'); }

function changeResponse(event, response) { change(event, response, 'set-cookie'); }
