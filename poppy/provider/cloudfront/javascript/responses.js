// Runs at every response of a status below 400, cached or not (CloudFront Functions, runtime 2.0).
// Above this are LATER with their own code and tables: each gets the event and changes the response.

function handler(event) {
    LATER.forEach(function (step) { step(event, event.response); });
    return event.response;
}
