/* xxhash.h, as the linter shall see it: declared, not inline. What a hash will be no analyzer can tell; following how
 * it comes about uses up the steps that it has for a function, before it gets to what the function does with it. */
#undef XXH_INLINE_ALL
#include_next <xxhash.h>
