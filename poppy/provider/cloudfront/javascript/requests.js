// Runs at every viewer request, before the cache (CloudFront Functions, runtime 2.0).
// Above this are UNTRUSTED, and STEPS with their own code and tables. A step gets the event. It
// changes the request or returns an answer; the first answer ends the steps.

function reply(status, text, headers) {
    return { statusCode: status, statusDescription: text, headers: headers || {} };
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
    var answer;
    distrust(event.request.headers);
    for (var i = 0; i < STEPS.length && !answer; i++) answer = STEPS[i](event);
    if (!answer) return event.request;
    for (i = 0; i < LATER.length; i++) LATER[i](event, answer);
    return answer;
}
