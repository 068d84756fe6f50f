// Choice of the origin by path. ROUTES are [pattern, number of a choice], the most specific first;
// the last one matches every path. CHOICES are [id of the origin, Host header or null].
function route(event) {
    var request = event.request, path = normal(request.uri), i = 0;
    while (!matches(ROUTES[i][0], path)) i++;
    var choice = CHOICES[ROUTES[i][1]], id = choice[0], host = choice[1];
    if (!id) cf.updateRequestOrigin({ hostHeader: host });
    else if (host) cf.selectRequestOriginById(id, { hostHeader: host });
    else cf.selectRequestOriginById(id);
}
