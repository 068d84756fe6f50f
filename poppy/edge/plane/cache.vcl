# SPDX-License-Identifier: Apache-2.0
# One program for all services. HAProxy has looked up what to do, and says so in fields x-p-...
# (poppy.edge.plane.front), which it removes from clients' requests. It sends only what may be
# cached: GET and HEAD without body, credentials and cookies.
vcl 4.1;

import blob;
import std;
import var;
import xkey;

backend origin {
    .path = "@origin@";
    .connect_timeout = 5s;
    .first_byte_timeout = @first_byte_timeout@s;
    .between_bytes_timeout = @between_bytes_timeout@s;
}

sub vcl_init {
    # Of this child process: the cache is empty after it was replaced.
    var.global_set("started", now);
}

sub vcl_recv {
    # HAProxy removes this field from clients' requests, so it comes from the agent.
    if (req.http.x-p-command) {
        call command;
    }
    if (req.http.x-p-pipe) {
        return (pipe);
    }
    # What is set here stays after a restart.
    if (req.http.x-p-stale == "no") {
        set req.grace = 0s;
    } else if (req.http.x-p-stale) {
        set req.grace = 1y;
    }
    # Varnish answers 416 to several ranges. A server may ignore the field (RFC 9110, section 14.2).
    if (req.http.Range ~ ",") {
        unset req.http.Range;
    }
    if (req.http.x-p-pass) {
        return (pass);
    }
    return (hash);
}

sub command {
    if (req.http.x-p-command == "purge") {
        set req.http.x-p-count = xkey.purge(req.http.x-p-keys);
    } else if (req.http.x-p-command == "softpurge") {
        set req.http.x-p-count = xkey.softpurge(req.http.x-p-keys);
    } else if (req.http.x-p-command == "ban") {
        if (!std.ban(req.http.x-p-ban)) {
            return (synth(500, std.ban_error()));
        }
    } else if (req.http.x-p-command != "started") {
        return (synth(500, "Unknown command"));
    }
    return (synth(200, var.global_get("started")));
}

sub vcl_hash {
    hash_data(req.http.x-p-service);
    hash_data(req.http.host);
    hash_data(req.url);
    # The origin learns the scheme, and may redirect by it.
    hash_data(req.http.x-p-proto);
    if (req.http.x-p-key) {
        hash_data(req.http.x-p-key);
    }
@key@    return (lookup);
}

# With stale-if-error, an object is kept for longer than it may be served. Then it has to be fetched,
# and is served only if that fails.
sub vcl_hit {
    if (obj.ttl < 0s && obj.http.x-p-fresh && !req.http.x-p-stale
        && obj.ttl + std.duration(obj.http.x-p-fresh, 0s) <= 0s) {
        set req.http.x-p-stale = "no";
        return (restart);
    }
}

# An object known to be too large: Varnish would keep in memory what a slow client has not got yet.
sub vcl_pass {
    if (req.is_hitpass && req.method == "GET") {
        set req.http.x-p-pipe = "1";
        return (restart);
    }
}

sub vcl_pipe {
    # The origins' side measures the response.
    set bereq.http.x-p-size = "1";
    set bereq.http.Connection = "close";
}

sub vcl_backend_fetch {
    unset bereq.http.x-p-size;
    if (!bereq.uncacheable && bereq.method == "GET") {
        set bereq.http.x-p-size = "kept";
    }
    set bereq.first_byte_timeout = @first_byte_timeout@s;
    if (bereq.http.x-p-origin ~ "^[^|]*[|][^|/]*/") {
        # The origin has options (poppy.edge.plane.origins_options).
        set bereq.first_byte_timeout = std.duration(regsub(bereq.http.x-p-origin,
            "^[^|]*[|][^|/]*/[^|/]*/([0-9]+)[|].*$", "\1ms"), @first_byte_timeout@s) + @margin@s;
    }
    # The fourth part; it may be empty. It is the TTL and options (poppy.edge.plane.lifetimes).
    set bereq.http.x-p-life = regsub(bereq.http.x-p-origin, "^(?:[^|]*[|]){3}([^|]*).*", "\1");
    if (bereq.http.x-p-life != "") {
        set bereq.http.x-p-ttl = regsub(bereq.http.x-p-life, "/.*", "");
    }
    if (bereq.http.x-p-life !~ "/") {
        unset bereq.http.x-p-life;
    }
}

sub vcl_backend_response {
    if (beresp.status >= 500 && (bereq.is_bgfetch || bereq.http.x-p-stale == "no")) {
        return (abandon);
    }
    unset beresp.http.x-p-large;
    if (std.integer(beresp.http.Content-Length, 0) > @max_object_size@
        || beresp.http.x-p-size == "large") {
        set beresp.http.x-p-large = "1";
        return (pass(120s));
    }
    if (beresp.http.x-p-size == "unknown") {
        # The next request shows the size (origins_sizes.lua), so that later ones may keep it.
        set beresp.http.x-p-large = "1";
        return (pass(1s));
    }
    unset beresp.http.x-p-size;
    call mark;
    call compress;
    set beresp.grace = @grace@s;
    set beresp.keep = 3600s;
    if (bereq.http.x-p-life ~ "/m" && (beresp.http.Expires
        || beresp.http.Cache-Control ~ "(?i)max-?age|no-cache|no-store|private")) {
        # The origin's lifetime counts.
    } else if (bereq.http.x-p-ttl) {
        if (beresp.status == 200 || beresp.status == 203 || beresp.status == 300
            || beresp.status == 301 || beresp.status == 308) {
            set beresp.ttl = std.duration(bereq.http.x-p-ttl, 0s);
        } else if (beresp.status == 404 || beresp.status == 410) {
            set beresp.ttl = std.duration(bereq.http.x-p-ttl, 0s);
            if (beresp.ttl > @missing_ttl@s) {
                set beresp.ttl = @missing_ttl@s;
            }
        } else if (beresp.ttl > std.duration(bereq.http.x-p-ttl, 0s)) {
            set beresp.ttl = std.duration(bereq.http.x-p-ttl, 0s);
        }
    }
    if (bereq.http.x-p-life) {
        call lifetime;
    }
}

sub lifetime {
    unset beresp.http.x-p-fresh;
    unset beresp.http.x-p-browser;
    # A status of the list is the first word again.
    set beresp.http.x-p-life = beresp.status + ";" + bereq.http.x-p-life + "/";
    if (beresp.http.x-p-life ~ "^([0-9]+);.*/t\1=") {
        set beresp.ttl = std.duration(
            regsub(beresp.http.x-p-life, "^([0-9]+);.*/t\1=([0-9]+)/.*", "\2s"), 0s);
    }
    unset beresp.http.x-p-life;
    if (bereq.http.x-p-life ~ "/w") {
        set beresp.grace = std.duration(
            regsub(bereq.http.x-p-life, "^.*/w([0-9]+).*", "\1s"), 0s);
    }
    if (bereq.http.x-p-life ~ "/e") {
        set beresp.http.x-p-fresh = beresp.grace + "s";
        set beresp.grace = std.duration(
            regsub(bereq.http.x-p-life, "^.*/e([0-9]+).*", "\1s"), 0s);
    }
    if (bereq.http.x-p-life ~ "/b" && (beresp.status == 200 || beresp.status == 203
        || beresp.status == 300 || beresp.status == 301 || beresp.status == 308)) {
        set beresp.http.x-p-browser = regsub(bereq.http.x-p-life, "^.*/b([0-9]+).*", "\1");
    }
}

@marks@
# Set the keys for purges: the service, its path, and its path with the query. They are encoded so
# that all spellings of a path are equal (poppy.edge.plane.purges).
sub mark {
    unset beresp.http.X-HashTwo;
    set beresp.http.x-p-service = bereq.http.x-p-service;
    set beresp.http.x-p-url = regsuball(blob.transcode(decoding=URL, encoding=URL, case=LOWER,
        encoded=regsub(bereq.url, "[?].*", "")), "(?:%2f)+", "%2f");
    set beresp.http.xkey = bereq.http.x-p-service + " "
        + bereq.http.x-p-service + beresp.http.x-p-url;
    if (bereq.url ~ "^[^?]*;") {
        # As an origin reads it that ignores the parameters of segments.
        set beresp.http.x-p-bare = regsuball(blob.transcode(decoding=URL, encoding=URL, case=LOWER,
            encoded=regsuball(regsub(bereq.url, "[?].*", ""), ";[^/]*", "")),
            "(?:%2f)+", "%2f");
        set beresp.http.xkey = beresp.http.xkey + " "
            + bereq.http.x-p-service + beresp.http.x-p-bare;
    }
    if (bereq.url ~ "[?]") {
        if (bereq.url ~ "[?].*%(?![0-9A-Fa-f]{2})") {
            set beresp.http.x-p-query = blob.transcode(decoding=IDENTITY, encoding=URL,
                case=LOWER, encoded=regsub(bereq.url, "^[^?]*[?]", ""));
        } else {
            set beresp.http.x-p-query = regsuball(blob.transcode(decoding=URL, encoding=URL,
                case=LOWER, encoded=regsub(bereq.url, "^[^?]*[?]", "")), "(?:%2f)+", "%2f");
        }
        set beresp.http.x-p-url = beresp.http.x-p-url + "?" + beresp.http.x-p-query;
        set beresp.http.xkey = beresp.http.xkey + " "
            + bereq.http.x-p-service + beresp.http.x-p-url;
        if (beresp.http.x-p-bare) {
            set beresp.http.xkey = beresp.http.xkey + " " + bereq.http.x-p-service
                + beresp.http.x-p-bare + "?" + beresp.http.x-p-query;
        }
        unset beresp.http.x-p-query;
    }
    set beresp.http.x-p-tree = regsub(beresp.http.x-p-url, "[?].*$", "");
    call mark_directories;
    if (beresp.http.x-p-bare) {
        set beresp.http.x-p-tree = beresp.http.x-p-bare;
        call mark_directories;
    }
    call mark_host;
    call mark_tags;
    unset beresp.http.x-p-bare;
}

sub compress {
    if (bereq.http.x-p-gzip && beresp.status != 204 && beresp.status != 206
        && beresp.http.Content-Type ~ "@compressible@" && !beresp.http.Content-Encoding
        && beresp.http.Cache-Control !~ "(?i)no-transform"
        && std.integer(beresp.http.Content-Length, 256) >= 256) {
        set beresp.do_gzip = true;
    }
}

# HAProxy itself answers if the origin fails. So either the time is up, or Varnish did not understand
# the response: it has an interim one (103), which HAProxy drops if asked to, or is too wide.
sub vcl_backend_error {
    if (now - bereq.time < bereq.first_byte_timeout) {
        if (bereq.retries == 0) {
            set bereq.http.x-p-final = "1";
            return (retry);
        }
        return (abandon);
    }
    if (bereq.is_bgfetch || bereq.http.x-p-stale == "no") {
        return (abandon);
    }
    set beresp.status = 504;
    set beresp.http.X-Cache = "MISS";
    set beresp.http.Content-Type = "text/plain; charset=utf-8";
    set beresp.body = {"Error 504 Gateway Timeout
"};
    set beresp.ttl = 0s;
    set beresp.uncacheable = true;
    return (deliver);
}

sub vcl_synth {
    # Fetching was abandoned.
    if (resp.status == 503 && req.http.x-p-stale == "no") {
        set req.http.x-p-stale = "yes";
        return (restart);
    }
    if (req.http.x-p-status) {
        set resp.status = std.integer(req.http.x-p-status, 500);
    } else if (resp.status == 503 && !req.http.x-p-pipe) {
        set req.http.x-p-pipe = "1";
        return (restart);
    }
    set resp.http.X-Cache = "MISS";
}

# Fetch the page of an error, if there is one. "- 404=<entry>;<path>" has one for each status. With
# the response's status in front, a back reference finds it.
sub error_page {
    set req.http.x-p-page = resp.status + "|" + req.http.x-p-errors;
    if (req.http.x-p-page !~ "^([0-9]+)[|].* \1=") {
        return;
    }
    set req.http.x-p-page = regsub(req.http.x-p-page, "^([0-9]+)[|].* \1=([^ ]*).*$", "\2");
    set req.http.x-p-status = resp.status;
    set req.http.x-p-origin = regsub(req.http.x-p-page, ";.*$", "")
        + ";" + regsub(req.http.x-p-origin, "^[^;]*;", "");
    set req.url = regsub(req.http.x-p-page, "^[^;]*;", "");
    # What belongs to the original request only.
    unset req.http.x-p-key;
    if (req.http.x-p-page-key) {
        set req.http.x-p-key = req.http.x-p-page-key;
    }
    unset req.http.x-p-pass;
    unset req.http.x-p-stale;
    unset req.http.Cookie;
    unset req.http.Authorization;
    unset req.http.Range;
    unset req.http.If-Range;
    unset req.http.If-Match;
    unset req.http.If-None-Match;
    unset req.http.If-Modified-Since;
    unset req.http.If-Unmodified-Since;
    return (restart);
}

sub vcl_deliver {
    if (req.http.x-p-status) {
        set resp.status = std.integer(req.http.x-p-status, 500);
        # Otherwise a browser would keep the error as long as the page.
        set resp.http.Cache-Control = "no-store";
        unset resp.http.x-p-browser;
        unset resp.http.Expires;
        unset resp.http.ETag;
        unset resp.http.Last-Modified;
    } else if (req.http.x-p-errors && resp.status >= 400) {
        call error_page;
    }
    if (resp.http.x-p-large && req.method == "GET" && !req.http.x-p-status) {
        set req.http.x-p-pipe = "1";
        return (restart);
    }
    unset resp.http.xkey;
    unset resp.http.x-p-service;
    unset resp.http.x-p-url;
    unset resp.http.x-p-fresh;
    if (resp.http.x-p-browser) {
        set resp.http.Cache-Control = "max-age=" + resp.http.x-p-browser;
        unset resp.http.x-p-browser;
        unset resp.http.Expires;
        unset resp.http.Age;
    }
    # The origins' side of HAProxy has set MISS.
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    }
    set resp.http.X-Cache-Hits = obj.hits;
}
