// SPDX-License-Identifier: Apache-2.0
// A Lambda@Edge function for CloudFront's event "origin-response" (Node.js). It keeps CloudFront
// from sharing responses that set a cookie, or that vary by a header that is not in Poppy's cache
// key. See "Responses that must not be shared" in doc/source/drivers/cloudfront.rst.

// Header fields that are part of the cache key, or that CloudFront handles itself.
const IN_THE_KEY = ['accept-encoding', 'authorization', 'cookie', 'host', 'origin'];

function values(headers, name) {
    const fields = (headers[name] || []).map(field => field.value);
    return fields.join(',').split(',').map(part => part.trim()).filter(part => part);
}

async function handler(event) {
    const response = event.Records[0].cf.response;
    const headers = response.headers;
    const varies = values(headers, 'vary').some(name => !IN_THE_KEY.includes(name.toLowerCase()));
    if (headers['set-cookie'] || varies) {
        const kept = values(headers, 'cache-control').filter(
            directive => !/^(public$|private\b|s-maxage\b)/i.test(directive));
        headers['cache-control'] = [{ key: 'Cache-Control', value: ['private', ...kept].join(', ') }];
    }
    return response;
}

export { handler };
