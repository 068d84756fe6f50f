# SPDX-License-Identifier: Apache-2.0
"""Functions of Fastly's VCL that Varnish lacks, as inline C for :mod:`tests.real.fastly_edge`.

See https://www.fastly.com/documentation/reference/vcl/functions/cryptographic/: without a key,
an HMAC is not set; keys of more than 64 bytes are hashed first (RFC 2104).
"""

import re
from collections.abc import Mapping

#: A statement of the driver: an HMAC with a key of a dictionary.
_STATEMENT = re.compile(
    r"set req\.http\.([\w-]+) = digest\.hmac_sha256_base64\("
    r'table\.lookup\((\w+), req\.http\.([\w-]+), ""\), req\.http\.([\w-]+)\);'
)
_KEY = "X-Test-Key"

#: The declarations that the statements need. SHA-256 is varnishd's own.
DECLARATIONS = r"""
C{
#include <string.h>
extern void VSHA256_Init(void *);
extern void VSHA256_Update(void *, const void *, size_t);
extern void VSHA256_Final(unsigned char *, void *);
static void fastly_hash(unsigned char *out, const void *a, size_t al, const void *b, size_t bl) {
    unsigned char context[512] __attribute__((aligned(16)));
    VSHA256_Init(context);
    VSHA256_Update(context, a, al);
    VSHA256_Update(context, b, bl);
    VSHA256_Final(out, context);
}
static void fastly_hmac(char *out, const char *key, const char *text) {
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char block[64] = {0}, inner[64], outer[64], sum[33] = {0};
    size_t length = strlen(key);
    int i;
    if (length > 64) fastly_hash(block, key, length, "", 0);
    else memcpy(block, key, length);
    for (i = 0; i < 64; i++) { inner[i] = block[i] ^ 0x36; outer[i] = block[i] ^ 0x5c; }
    fastly_hash(sum, inner, 64, text, strlen(text));
    fastly_hash(sum, outer, 64, sum, 32);
    for (i = 0; i < 33; i += 3) {
        unsigned v = sum[i] << 16 | sum[i + 1] << 8 | sum[i + 2];
        *out++ = digits[v >> 18]; *out++ = digits[v >> 12 & 63];
        *out++ = digits[v >> 6 & 63]; *out++ = digits[v & 63];
    }
    out[-1] = '=';
    *out = 0;
}
}C
"""


def translated(text: str, tables: Mapping[str, Mapping[str, str]]) -> str:
    """Return VCL in which HMACs are calculated by inline C.

    Args:
        text: Fastly's VCL.
        tables: the items of dictionaries, by name.
    """

    def replace(found: re.Match[str]) -> str:
        result, table, key, message = found.groups()
        look_up = "".join(
            f'if (req.http.{key} == "{name}") {{ set req.http.{_KEY} = "{value}"; }}\n'
            for name, value in tables[table].items()
        )
        return f"""unset req.http.{_KEY};
unset req.http.{result};
{look_up}
if (req.http.{_KEY}) {{
C{{
  static const struct gethdr_s k = {_header(_KEY)}, m = {_header(message)}, r = {_header(result)};
  char proof[64];
  fastly_hmac(proof, VRT_GetHdr(ctx, &k), VRT_GetHdr(ctx, &m));
  {{ const char *p = proof; struct strands s = {{1, &p}}; VRT_SetHdr(ctx, &r, 0, &s); }}
}}C
}}
unset req.http.{_KEY};"""

    return _STATEMENT.sub(replace, text)


def _header(name: str) -> str:
    return f'{{ HDR_REQ, "\\{len(name) + 1:03o}{name}:" }}'
