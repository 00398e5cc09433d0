/* page_texts.h: every word that the link's page says to a visitor, with its key in the operator's file
 * (page.texts.KEY).
 *
 * {time}, {low}, {position} and {n} are filled in; anything else in braces stays as it is. No state.
 */
#ifndef RAINCHECK_HTTP_PAGE_TEXTS_H
#define RAINCHECK_HTTP_PAGE_TEXTS_H

#include <stdbool.h>

/* X(key, English, German) */
#define PAGE_TEXT_TABLE(X)                                                                                              \
	X(language, "en", "de")                                                                                         \
	X(untitled, "Your video", "Dein Video")                                                                         \
	X(scheduled, "Starts in {time}", "Beginnt in {time}")                                                           \
	X(starting, "Starts any moment now", "Beginnt jeden Moment")                                                    \
	X(next, "You are next in line", "Du bist als Nächstes dran")                                                    \
	X(waiting, "Number {position} in line", "Platz {position} in der Schlange")                                     \
	X(queued, "In line", "In der Schlange")                                                                         \
	X(running, "Being made right now", "Wird gerade gemacht")                                                       \
	X(succeeded, "It is ready", "Es ist fertig")                                                                    \
	X(dead, "Sorry, it could not be made", "Das hat leider nicht geklappt")                                         \
	X(canceled, "It was canceled", "Es wurde abgebrochen")                                                          \
	X(expired, "Sorry, it ran out of time", "Die Zeit hat leider nicht gereicht")                                   \
	X(estimate, "About {time} to go", "Noch etwa {time}")                                                           \
	X(estimate_range, "About {low} to {time} to go", "Noch etwa {low} bis {time}")                                  \
	X(estimate_within, "At most {time} to go", "Höchstens noch {time}")                                             \
	X(estimate_soon, "Ready any moment now", "Jeden Moment fertig")                                                 \
	X(waits_paused, "It is on hold for the moment. You keep your place.",                                           \
	  "Gerade ist Pause. Dein Platz bleibt dir.")                                                                   \
	X(waits_held, "We have to take a short break. You keep your place.",                                            \
	  "Wir müssen kurz Pause machen. Dein Platz bleibt dir.")                                                       \
	X(waits_breaker, "The service that makes it has trouble right now. You keep your place.",                       \
	  "Der Dienst, der es macht, hat gerade Schwierigkeiten. Dein Platz bleibt dir.")                               \
	X(estimate_none, "We cannot say yet how long it will take",                                                     \
	  "Wie lange es dauert, lässt sich noch nicht sagen")                                                           \
	X(seconds, "half a minute", "eine halbe Minute")                                                                \
	X(minute, "a minute", "eine Minute")                                                                            \
	X(minutes, "{n} minutes", "{n} Minuten")                                                                        \
	X(hour, "an hour", "eine Stunde")                                                                               \
	X(hours, "{n} hours", "{n} Stunden")                                                                            \
	X(day, "a day", "einen Tag")                                                                                    \
	X(days, "{n} days", "{n} Tage")                                                                                 \
	X(come_back, "You can close this page and come back at any time: the link stays the same.",                     \
	  "Du kannst diese Seite schließen und jederzeit wiederkommen: Der Link bleibt derselbe.")                      \
	X(download, "Download", "Herunterladen")                                                                        \
	X(save_still, "Save the picture", "Bild sichern")                                                               \
	X(share, "Share", "Teilen")                                                                                     \
	X(copied, "The link is copied", "Der Link ist kopiert")                                                         \
	X(offline, "You are offline. This page goes on when you are back.",                                             \
	  "Du bist offline. Die Seite macht weiter, sobald du wieder da bist.")                                         \
	X(progress, "Progress", "Fortschritt")                                                                          \
	X(preview, "Preview", "Vorschau")                                                                               \
	X(failed_timeout, "It took too long, every time we tried.", "Es hat jedes Mal zu lange gedauert.")              \
	X(failed_throttled, "Too many people asked at once, and we could not fit yours in.",                            \
	  "Zu viele haben gleichzeitig gefragt, und für deines war kein Platz.")                                        \
	X(failed_unavailable, "The service that makes it could not be reached.",                                        \
	  "Der Dienst, der es macht, war nicht erreichbar.")                                                            \
	X(failed_invalid, "What came back was not usable.", "Was zurückkam, war nicht zu gebrauchen.")                  \
	X(failed_internal, "Something went wrong on our side.", "Bei uns ist etwas schiefgegangen.")                    \
	X(failed_rejected, "What was sent in could not be accepted. Another picture or other words may work.",          \
	  "Was geschickt wurde, ließ sich nicht annehmen. Vielleicht klappt es mit einem anderen Bild oder anderen "   \
	  "Worten.")                                                                                                    \
	X(failed_canceled, "Whoever ordered it has called it off.", "Wer es bestellt hat, hat es abgesagt.")            \
	X(failed_expired, "We did not get to it before its deadline.", "Wir sind nicht rechtzeitig dazu gekommen.")     \
	X(shared, "Open it here: it plays as soon as it is ready.", "Hier zu sehen, sobald es fertig ist.")             \
	X(gone, "This link has expired", "Dieser Link ist abgelaufen")                                                  \
	X(gone_detail, "What was here was kept for a limited time and has been removed.",                               \
	  "Was hier war, wurde eine begrenzte Zeit aufbewahrt und ist nun gelöscht.")                                   \
	X(unknown, "There is nothing here", "Hier ist nichts")                                                          \
	X(unknown_detail, "The link may be incomplete, or it has been withdrawn. Is it exactly as you got it?",         \
	  "Der Link ist vielleicht unvollständig, oder er wurde zurückgezogen. Ist er genau so, wie du ihn bekommen " \
	  "hast?")                                                                                                      \
	X(broken, "Something went wrong", "Da ist etwas schiefgegangen")                                                \
	X(broken_detail, "We cannot show this page right now. Please try again in a moment.",                           \
	  "Wir können diese Seite gerade nicht zeigen. Bitte versuch es gleich noch einmal.")

#define PAGE_TEXT_ENUM(key, english, german) PAGE_TEXT_##key,
enum page_text { PAGE_TEXT_TABLE(PAGE_TEXT_ENUM) PAGE_TEXTS };
#undef PAGE_TEXT_ENUM

/* The languages there are texts in. */
enum page_language { PAGE_ENGLISH, PAGE_GERMAN, PAGE_LANGUAGES };

struct page_template;

/* What the operator set about the page. What it points to must outlive whoever is given this. */
struct page_settings {
	const char *name;		    /* who the page is from */
	const char *accent;		    /* "#rrggbb", validated */
	const char *aspect;		    /* "16/9": of the box for a picture that is not there yet; NULL: that */
	enum page_language language;	    /* of what stands in no texts */
	const char *texts[PAGE_TEXTS];	    /* NULL: the default above */
	const char *logo;		    /* its path relative to /r/, "" or NULL: none */
	const char *script;		    /* the page's own, likewise; NULL: "../page.js" */
	const struct page_template *job;    /* NULL: the page is the broker's own */
	const struct page_template *notice; /* likewise */
};

/* True, and which, for the code of a language that there are texts in: "en", "de". */
bool page_language_find(const char *code, enum page_language *ret);

/* The operator's words, or the default ones; never NULL. */
const char *page_text(const struct page_settings *page, enum page_text which);

#endif
