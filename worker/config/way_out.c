#include "worker/config/way_out.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/check.h"
#include "worker/config/upstream.h"
#include "worker/transport/trust.h"

int way_out_trust(struct check *c, const char *path, struct trust **ret_trust)
{
	_cleanup_free_ char *text = NULL;
	int rc = check_expand(c, "ca_file", path, false, &text);

	if (rc < 0 || !text)
		return rc;
	rc = trust_new(text, ret_trust);
	if (rc == ERR_IO)
		return check_fail(c, "ca_file", "%s cannot be read: %s", text, strerror(errno));
	if (rc == ERR_BAD_REQUEST)
		return check_fail(c, "ca_file", "%s holds no certificate (PEM)", text);
	return rc;
}

static int init_proxy(struct check *c, const char *word, struct upstream *u)
{
	static const char *const schemes[] = { "http://", "https://", "socks5://", "socks5h://" };
	bool known = !word;
	int rc;

	/* It may hold a password. */
	rc = check_expand(c, "proxy", word, word && strpbrk(word, "@{"), &u->proxy);
	for (size_t i = 0; rc == 0 && u->proxy && i < ARRAY_SIZE(schemes); i++)
		known |= strncmp(u->proxy, schemes[i], strlen(schemes[i])) == 0 && u->proxy[strlen(schemes[i])];
	if (rc == 0 && (!known || (u->proxy && strpbrk(u->proxy, " \t\r\n"))))
		return check_fail(c, "proxy", "it is not http://, https://, socks5:// or socks5h:// and HOST:PORT");
	return rc;
}

int way_out_init(struct check *c, const struct raw_way_out *raw, struct upstream *u)
{
	int rc = way_out_trust(c, raw->ca_file, &u->trust);

	if (rc == 0)
		rc = init_proxy(c, raw->proxy, u);
	if (rc == 0)
		rc = check_expand(c, "interface", raw->interface, false, &u->interface);
	if (rc == 0 && u->interface && strpbrk(u->interface, " \t\r\n!/"))
		return check_fail(c, "interface",
				  "it is neither the name of an interface nor an address of this machine");
	return rc;
}
