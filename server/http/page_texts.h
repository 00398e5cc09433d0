/* page_texts.h: every word that the link's page says to a visitor, with its key in the operator's file
 * (page.texts.KEY).
 *
 * {time}, {low}, {position} and {n} are filled in; anything else in braces stays as it is. No state.
 */
#ifndef RAINCHECK_HTTP_PAGE_TEXTS_H
#define RAINCHECK_HTTP_PAGE_TEXTS_H

/* X(key, default) */
#define PAGE_TEXT_TABLE(X)                                                                                      \
	X(language, "en")                                                                                       \
	X(untitled, "Your video")                                                                               \
	X(scheduled, "Starts in {time}")                                                                        \
	X(starting, "Starts any moment now")                                                                    \
	X(next, "You are next in line")                                                                         \
	X(waiting, "Number {position} in line")                                                                 \
	X(queued, "In line")                                                                                    \
	X(running, "Being made right now")                                                                      \
	X(succeeded, "It is ready")                                                                             \
	X(dead, "Sorry, it could not be made")                                                                  \
	X(canceled, "It was canceled")                                                                          \
	X(expired, "Sorry, it ran out of time")                                                                 \
	X(estimate, "About {time} to go")                                                                       \
	X(estimate_range, "About {low} to {time} to go")                                                        \
	X(estimate_within, "At most {time} to go")                                                              \
	X(estimate_soon, "Ready any moment now")                                                                \
	X(waits_paused, "It is on hold for the moment. You keep your place.")                                   \
	X(waits_held, "We have to take a short break. You keep your place.")                                    \
	X(waits_breaker, "The service that makes it has trouble right now. You keep your place.")               \
	X(estimate_none, "We cannot say yet how long it will take")                                             \
	X(seconds, "half a minute")                                                                             \
	X(minute, "a minute")                                                                                   \
	X(minutes, "{n} minutes")                                                                               \
	X(hour, "an hour")                                                                                      \
	X(hours, "{n} hours")                                                                                   \
	X(day, "a day")                                                                                         \
	X(days, "{n} days")                                                                                     \
	X(come_back, "You can close this page and come back at any time: the link stays the same.")             \
	X(download, "Download")                                                                                 \
	X(save_still, "Save the picture")                                                                       \
	X(progress, "Progress")                                                                                 \
	X(preview, "Preview")                                                                                   \
	X(failed_timeout, "It took too long, every time we tried.")                                             \
	X(failed_throttled, "Too many people asked at once, and we could not fit yours in.")                    \
	X(failed_unavailable, "The service that makes it could not be reached.")                                \
	X(failed_invalid, "What came back was not usable.")                                                     \
	X(failed_internal, "Something went wrong on our side.")                                                 \
	X(failed_rejected, "What was sent in could not be accepted. Another picture or other words may work.")  \
	X(failed_canceled, "Whoever ordered it has called it off.")                                             \
	X(failed_expired, "We did not get to it before its deadline.")                                          \
	X(gone, "This link has expired")                                                                        \
	X(gone_detail, "What was here was kept for a limited time and has been removed.")                       \
	X(unknown, "There is nothing here")                                                                     \
	X(unknown_detail, "The link may be incomplete, or it has been withdrawn. Is it exactly as you got it?") \
	X(broken, "Something went wrong")                                                                       \
	X(broken_detail, "We cannot show this page right now. Please try again in a moment.")

#define PAGE_TEXT_ENUM(key, text) PAGE_TEXT_##key,
enum page_text { PAGE_TEXT_TABLE(PAGE_TEXT_ENUM) PAGE_TEXTS };
#undef PAGE_TEXT_ENUM

/* What the operator set about the page. The strings must outlive whoever is given this. */
struct page_settings {
	const char *name;	       /* who the page is from */
	const char *accent;	       /* "#rrggbb", validated */
	const char *texts[PAGE_TEXTS]; /* NULL: the default above */
};

/* The operator's words, or the default ones; never NULL. */
const char *page_text(const struct page_settings *page, enum page_text which);

#endif
