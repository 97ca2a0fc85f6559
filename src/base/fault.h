/* Fault points: places where a test can make the program die or a call fail.
 *
 * Compiled in only with PGSTRATA_FAULTS (presets debug, asan, tsan); elsewhere fault_at is the constant 0.
 * The plan comes from the environment variable PGSTRATA_FAULT, "NAME:N:ACTION": at the Nth passage (from 1)
 * of point NAME ("*" is any point), ACTION is `kill` (SIGKILL to ourselves) or an errno number that the point
 * then reports. PGSTRATA_FAULT=count prints every passage to standard error as "fault-point NAME". */
#pragma once

#ifdef PGSTRATA_FAULTS
int fault_at(const char *name); /* 0, or the -errno to fail with */
#else
static inline int fault_at(const char *name)
{
	(void)name;
	return 0;
}
#endif
