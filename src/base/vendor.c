/*
 * vendor.c
 *		Prefixes of keys that are another vendor's; see vendor.h.
 *
 * Whoever finds such a key, or looks for them, as GitHub does in all that is pushed to
 * it, takes it for the vendor's: it is reported to them, who do not know it, and not to
 * its issuer.
 */
#include "postgres.h"

#include "base/vendor.h"

typedef struct Vendor
{
	const char *prefix;			/* without the '_' behind it */
	const char *name;
} Vendor;

/*
 * In alphabetical order.  Sources: "Supported secret scanning patterns" of GitHub, the
 * rules of gitleaks (config/gitleaks.toml) and the detectors of trufflehog
 * (pkg/detectors), and what the vendors say of their own tokens: "Token overview" of
 * GitLab, "Tokens" of Slack, "API keys" of Stripe.  Some put '-' behind theirs, which
 * only people would mistake ours for.
 */
static const Vendor vendors[] = {
	{"aio", "Adafruit"},
	{"api_org", "Hugging Face"},
	{"bkua", "Buildkite"},
	{"dckr_oat", "Docker"},
	{"dckr_pat", "Docker"},
	{"doo_v1", "DigitalOcean"},
	{"dop_v1", "DigitalOcean"},
	{"dor_v1", "DigitalOcean"},
	{"duffel_live", "Duffel"},
	{"duffel_test", "Duffel"},
	{"figd", "Figma"},
	{"figp", "Figma"},
	{"fm2", "Fly.io"},
	{"fo1", "Fly.io"},
	{"gho", "GitHub"},
	{"ghp", "GitHub"},
	{"ghr", "GitHub"},
	{"ghs", "GitHub"},
	{"ghu", "GitHub"},
	{"github_pat", "GitHub"},
	{"glc", "Grafana"},
	{"gldt", "GitLab"},
	{"glpat", "GitLab"},
	{"glptt", "GitLab"},
	{"glrt", "GitLab"},
	{"glsa", "Grafana"},
	{"gsk", "Groq"},
	{"hf", "Hugging Face"},
	{"lin_api", "Linear"},
	{"npm", "npm"},
	{"ntn", "Notion"},
	{"phc", "PostHog"},
	{"phx", "PostHog"},
	{"pk_live", "Stripe"},
	{"pk_test", "Stripe"},
	{"pnu", "Prefect"},
	{"pscale_oauth", "PlanetScale"},
	{"pscale_pw", "PlanetScale"},
	{"pscale_tkn", "PlanetScale"},
	{"pypi", "PyPI"},
	{"r8", "Replicate"},
	{"rdme", "ReadMe"},
	{"rk_live", "Stripe"},
	{"rk_prod", "Stripe"},
	{"rk_test", "Stripe"},
	{"rubygems", "RubyGems"},
	{"rzp_live", "Razorpay"},
	{"sbp", "Supabase"},
	{"sgp", "Sourcegraph"},
	{"shpat", "Shopify"},
	{"shpca", "Shopify"},
	{"shppa", "Shopify"},
	{"shpss", "Shopify"},
	{"sk_live", "Stripe"},
	{"sk_prod", "Stripe"},
	{"sk_test", "Stripe"},
	{"sm_aat", "SettleMint"},
	{"sm_pat", "SettleMint"},
	{"sm_sat", "SettleMint"},
	{"sntrys", "Sentry"},
	{"sntryu", "Sentry"},
	{"tfp", "Typeform"},
	{"whsec", "Stripe"},
	{"xapp", "Slack"},
	{"xoxa", "Slack"},
	{"xoxb", "Slack"},
	{"xoxe", "Slack"},
	{"xoxp", "Slack"},
	{"xoxr", "Slack"},
	{"xoxs", "Slack"}
};

static int
compare_vendors(const void *a, const void *b)
{
	return strcmp(((const Vendor *) a)->prefix, ((const Vendor *) b)->prefix);
}

static const Vendor *
find_vendor(const char *prefix)
{
	const Vendor wanted = {prefix, NULL};

	return bsearch(&wanted, vendors, lengthof(vendors), sizeof(Vendor),
				   compare_vendors);
}

/*
 * "acme_sk_live" counts too, for not every scanner minds what stands before "sk_live".
 * That an own prefix ends with a single word, such as "hf", means nothing.
 */
void
ak_vendor_warn(const char *prefix)
{
	const Vendor *vendor = find_vendor(prefix);

	for (const char *p = strchr(prefix, '_'); p != NULL && vendor == NULL;
		 p = strchr(p + 1, '_'))
		if (strchr(p + 1, '_') != NULL)
			vendor = find_vendor(p + 1);
	if (vendor != NULL)
		ereport(WARNING,
				(errmsg("API keys with prefix \"%s\" look like those of %s",
						prefix, vendor->name),
				 errhint("Secret scanners may report a leaked key to %s, and not to you. Choose a prefix of your own.",
						 vendor->name)));
}
