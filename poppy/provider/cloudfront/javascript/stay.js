// CloudFront sends the path as the client spells it, so the origin could leave its own path. Refuse
// parent segments: encoded, encoded twice, with parameters or with backslashes, too.
function stay(event) {
    var path = event.request.uri;
    for (var n = 0; n < 3; n++) {
        path = path.replace(/%([0-9a-f]{2})/gi, function (all, digits) {
            return String.fromCharCode(parseInt(digits, 16));
        });
    }
    return /(^|[\/\\])\.\.($|[\/\\;])/.test(path) ? reply(400, 'Bad Request') : null;
}
