/* commands.h: what the bench driver can be told to do. Each takes its arguments, prints one line of JSON, and ends the
 * program with a sentence where something fails. One thread. */
#ifndef RAINCHECK_BENCH_COMMANDS_H
#define RAINCHECK_BENCH_COMMANDS_H

void run_lifecycle(char **args);    /* PEER PORT SECONDS */
void run_bare(char **args);	    /* DIR SECONDS */
void run_put_latency(char **args);  /* DIR PORT WRITES */
void run_hold_latency(char **args); /* DIR PORT WRITES */
void run_fill(char **args);	    /* PORT JOBS */
void run_rates(char **args);	    /* PORT OTHER_PORT SECONDS */
void run_first_lease(char **args);  /* PORT */
void run_sync(char **args);	    /* DIR */
void run_stats(char **args);	    /* PORT */
void run_tables(char **args);	    /* FILE */
void run_campaign(char **args);	    /* STRATEGY SEED CV VISITORS */

#endif
