// Tell other caches that a response was compressed for clients that accept it.
function mark(event, response) {
    var headers = response.headers, vary = headers.vary ? headers.vary.value : '';
    if (!headers['content-encoding'] || /accept-encoding/i.test(vary)) return;
    headers.vary = { value: vary ? vary + ', Accept-Encoding' : 'Accept-Encoding' };
}
