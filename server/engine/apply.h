/* apply.h: how a …set command changes settings: a key that was there sets, one that was nil takes back to the default,
 * one that was not there leaves the setting as it is. In server/engine alone. */
#ifndef RAINCHECK_ENGINE_APPLY_H
#define RAINCHECK_ENGINE_APPLY_H

#include "proto/messages.h"

#define APPLY(message, set, field, setting, otherwise) \
	APPLY_AS(__typeof__((set)->field), message, set, field, setting, otherwise)

/* The message's range makes sure that the value is one of the type. */
#define APPLY_AS(type, message, set, field, setting, otherwise) \
	do {                                                    \
		if ((set)->has_##field)                         \
			(setting) = (type)(set)->field;         \
		else if (MESSAGE_WAS_NIL(message, set, field))  \
			(setting) = (otherwise);                \
	} while (0)

#endif
