// Choice of the origin by path. ROUTES are [pattern, number of a choice], the most specific first;
// the last one matches every path. CHOICES are [id of the origin, Host header, TLS name, id of the
// backup, its statuses], or fewer.
function route(event) {
    var request = event.request, path = normal(request.uri), i = 0, changes = {};
    while (!matches(ROUTES[i][0], path)) i++;
    var choice = CHOICES[ROUTES[i][1]];
    if (choice[1]) changes.hostHeader = choice[1];
    if (choice[2]) {
        changes.sni = choice[2];
        changes.allowedCertificateNames = [choice[2]];
    }
    if (choice[3] && /^(GET|HEAD|OPTIONS)$/.test(request.method)) {
        cf.createRequestOriginGroup({
            originIds: [{ originId: choice[0] }, { originId: choice[3] }],
            failoverCriteria: { statusCodes: choice[4] }
        });
    } else if (choice[0]) cf.selectRequestOriginById(choice[0], changes);
    else cf.updateRequestOrigin(changes);
}
