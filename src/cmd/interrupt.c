/* See interrupt.h. */
#include "src/cmd/interrupt.h"

#include <stddef.h>

static volatile sig_atomic_t caught;

static void on_signal(int n)
{
	__atomic_store_n(&caught, n, __ATOMIC_RELAXED);
}

const volatile sig_atomic_t *interrupt_catch(void)
{
	/* SA_RESETHAND: whoever asks twice wants it at once. */
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	return &caught;
}
