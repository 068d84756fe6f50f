# SPDX-License-Identifier: Apache-2.0
"""Which tests fail if a vendor's double stops to enforce a fact of the driver's page.

By vendor and by the beginning of the fact: names of tests, ``promise:<id>`` for a row of the edge
contract, or ``none: <reason>``.
"""

ENFORCED: dict[str, dict[str, tuple[str, ...]]] = {
    "akamai": {
        "The behaviour ``caching`` with": (
            "test_akamai_keeps_private_responses_unless_told_otherwise",
            "promise:private",
        ),
        "The behaviour ``redirect`` has": ("test_the_double_refuses_other_redirects",),
        "``redirectplus`` has": ("test_values_that_no_option_has_are_refused",),
        "``modifyOutgoingResponseHeader`` changes": ("promise:response-headers",),
        "``constructResponse`` has": ("test_values_that_no_option_has_are_refused",),
        "Errors with 404": ("promise:missing", "promise:response-headers-errors"),
        "If the edge does not keep": ("none: the double passes on the origin's fields",),
        "A variable can be part": ("promise:key-some-query",),
        "``gzipResponse`` compresses": ("promise:compression",),
        "A rule tree declares": ("test_a_variable_must_be_declared",),
        "The rule format": (
            "none: a rule tree of another format is refused by Akamai's own schema",
        ),
        "``Akamai-RateLimit-Next``": ("test_limits_on_calls_and_objects_are_reported",),
        "An answer with a ``Vary``": ("test_removal_of_vary_would_share_responses",),
        "A property with a new hostname": ("test_the_double_refuses_what_akamai_refuses",),
        "A request to Domain Ownership Manager": (
            "test_requests_have_a_bounded_number_of_domains",
        ),
        "Version 1 of the Reporting API": ("test_reports_of_version_1_are_gone",),
        "Objects above 1.8 GB": ("test_large_files_are_optional",),
        "An activation on PRODUCTION": ("test_a_missing_compliance_record_is_named",),
        "A stream of DataStream 2": ("test_the_property_is_active_before_its_stream",),
        "A stream can't be changed": ("test_turned_on_again_while_akamai_deactivates",),
        "A destination has the type": ("test_amazon_has_a_destination_of_its_own",),
        "``logStreamName``": ("test_the_property_is_active_before_its_stream",),
        "A hostname with ``certProvisioningType``": (
            "test_the_tenant_creates_a_cname_and_keeps_it",
        ),
        "The edge hostname of such": ("test_the_tenant_creates_a_cname_and_keeps_it",),
        "A contract limits the hostnames": (
            "test_the_limit_of_the_contract_is_an_error_of_the_service",
            "test_a_contract_without_default_certificates_is_named",
        ),
        "The CNAME of a default": ("test_the_cname_also_proves_ownership",),
        "A purge by URL": ("promise:purge-query",),
        "A purge by cache tag": ("test_tags_of_a_purge_belong_to_the_service",),
        "The tags of all behaviours": (
            "promise:purge-tag",
            "promise:purge-directory",
            "test_the_double_refuses_other_tags",
        ),
        "``modifyIncomingResponseHeader`` changes": ("promise:purge-key",),
        "A secure property has no": ("test_a_shield_of_a_secure_property_has_no_location",),
        "Renewals of default certificates": ("test_renewals_need_the_cname",),
        "CPS makes the private key": ("test_the_key_of_a_tenant_is_refused",),
    },
    "cloudfront": {
        "A certificate's ``DomainName``": ("test_one_name_must_fit_in_a_common_name",),
        "A function has at most 10 KB": ("test_fifty_geography_rules_by_path_fit_the_size_limit",),
        "A distribution has at most 75": (
            "test_refused_change_leaves_the_distribution_unchanged",
            "test_ten_origins_with_five_long_paths_each_fit_the_function",
        ),
        "With a minimum TTL above 0": ("promise:no-store", "promise:no-cache", "promise:private"),
        "The security policies TLSv1.2_2021": ("none: the double accepts every policy",),
        "``redirect-to-https`` answers": ("promise:https-redirect",),
        "An update needs every field": ("test_incomplete_update_is_refused_by_the_double",),
        "A viewer-request function": (
            "test_the_most_specific_path_chooses_the_origin_and_the_ttl",
        ),
        "``ForwardedValues`` are legacy": ("none: nothing is refused",),
        "An invalidation with the caller": ("test_repeated_purge_is_one_invalidation",),
        "Invalidations: 3,000 paths": ("test_many_paths_keep_to_the_limit_on_wildcards",),
        "An invalidation by tag": ("test_purges_by_tag_need_the_option",),
        "A domain of another distribution": (
            "test_domain_of_another_distribution_is_moved_once_its_owner_agrees",
        ),
        "Standard logging (v2)": ("test_another_bucket_replaces_the_delivery",),
        "The service ``delivery.logs": ("test_amazon_must_be_allowed_to_write",),
        "Amazon puts ``AWSLogs": ("test_files_are_below_the_link",),
        "No function runs for responses": ("promise:response-headers-errors",),
        "Functions do not see fields": (
            "test_the_double_refuses_fields_that_functions_cannot_change",
            "promise:request-headers-cookies",
        ),
        "``rawQueryString()`` returns": ("promise:redirect-prefix", "promise:signed-key"),
        "With ``Compress``": ("promise:compression", "promise:compression-uncached"),
        "A behaviour with legacy cache settings": (
            "test_the_double_limits_functions_and_headers",
        ),
        "Without cache settings for them": ("promise:accept", "promise:user-agent"),
        "Errors are kept for": (
            "test_ttls_of_errors_apply",
            "test_unknown_error_code_is_refused_by_the_double",
        ),
        "A function can make an origin group": ("test_origins_have_paths_secrets_and_backups",),
        "A connection to an origin takes": ("test_the_double_checks_settings_of_origins",),
        "Origin shields are in 12": ("test_the_double_checks_settings_of_origins",),
        "CloudFront takes certificates": (
            "test_a_tenants_certificate_is_deployed_replaced_and_deleted",
        ),
        "A distribution has one web ACL": ("test_a_web_acl_comes_and_goes",),
        "A Lambda@Edge function is": (
            "test_only_a_published_version_is_a_function_for_responses",
            "promise:set-cookie",
        ),
    },
    "fastly": {
        "Statuses 600 to 699": ("test_the_double_refuses_other_errors",),
        "By default, answers with ``Set-Cookie``": ("promise:set-cookie", "promise:no-cache"),
        "Without ``Expires``": ("test_what_is_kept_and_shared",),
        "Objects of more than 20 MB": ("promise:large",),
        "A stale object is served": ("test_stale_objects_are_served_if_the_origin_fails",),
        "A service has at most 5 backends": (
            "test_too_many_origins_for_the_account_are_refused",
            "test_a_rate_limit_at_any_call_only_delays",
        ),
        "A version's details have no log": ("test_changes_by_hand_are_reverted",),
        "``compression_codec``": ("test_the_endpoint",),
        "An object is named": ("test_the_tenant_finds_the_files_by_the_link",),
        "A purge request names": ("test_many_keys_are_one_request",),
        "``X-Compress-Hint``": ("promise:compression",),
        "Compression excludes": ("promise:compression",),
        "``%`` and two hexadecimal": (
            "test_the_double_refuses_what_vcl_does_not_have",
            "promise:redirect-host-fixed",
        ),
        "A restart keeps the request": ("promise:error-page",),
        "Items of a dictionary": ("test_secrets_are_in_a_private_dictionary_only",),
        "``digest.hmac_sha256_base64``": ("promise:signed-valid", "promise:signed-forged"),
        "``querystring.regfilter``": ("promise:key-some-query", "promise:key-other-query"),
        "A private key without certificates": (
            "test_a_certificate_is_deployed_replaced_and_deleted",
            "test_the_double_refuses_uploads_as_fastly_does",
        ),
        "An activation has a certificate": ("test_the_double_refuses_uploads_as_fastly_does",),
        "Keys of certificates have RSA": ("test_certificates_that_fastly_cannot_use_are_refused",),
    },
    "powerdns": {
        "A change through the API": ("test_names_that_secondaries_would_not_get_are_refused",),
        "``GET`` of a zone": ("test_native_zone_without_growing_serial_number_is_logged_once",),
    },
    "route53": {
        "A change request has at most": (
            "test_many_long_names_are_split_into_batches",
            "test_exceeded_limits_of_amazon_are_reported",
        ),
        "A list request returns": ("test_names_far_apart_are_removed",),
        "The requests of an account": (
            "test_ten_names_are_removed_within_the_rate_limit_of_an_account",
        ),
        "A change is refused while": ("test_throttled_call_is_retried_later",),
        "An alias leads to records": (
            "test_double_refuses_what_amazon_refuses",
            "test_weights_of_pools_are_shares_of_answers",
        ),
        "A change is ``PENDING``": ("none: the driver does not wait for it; names appear later",),
    },
}
