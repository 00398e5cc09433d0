#include "page_html.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "server/http/html.h"
#include "server/http/media_type.h"
#include "server/http/media_url.h"
#include "server/http/page_source.h"
#include "server/http/page_template.h"
#include "server/http/words.h"

static void text(struct buf *out, const char *s)
{
	html_text(out, slice_str(s));
}

static bool is_pending(const struct page_content *p)
{
	return !job_state_final(p->job->state);
}

static const char *words_of(const struct page_content *p, enum page_text which)
{
	return page_text(p->page, which);
}

static enum media_class class_of_preview(const struct page_content *p)
{
	return p->preview && !p->preview_lies ? media_class_of(p->preview->content_type) : MEDIA_OTHER;
}

static enum media_class class_of_result(const struct page_content *p)
{
	return p->result && !p->result_lies ? media_class_of(p->result->content_type) : MEDIA_OTHER;
}

/* How long a page that is not live waits before it loads itself anew. */
static int again_s(const struct page_content *p)
{
	return 5 + words_retry_after(p->job);
}

/* ---- style ---- */

/* Relative luminance (WCAG 2.2) decides whether black or white is legible on the accent: one always is. */
static const char *colour_on(const char *accent)
{
	static const double weights[3] = { 0.2126, 0.7152, 0.0722 };
	double luminance = 0;
	uint8_t rgb[3];

	if (hex_decode(slice_str(accent + 1), rgb, sizeof(rgb)) < 0)
		return "#fff";
	for (int i = 0; i < 3; i++) {
		double c = rgb[i] / 255.0;

		/* The curve of sRGB as a polynomial: within 0.002, for which no maths library is needed. */
		luminance += weights[i] * c * (c * (c * 0.305306 + 0.682171) + 0.012523);
	}
	return luminance > 0.179 ? "#000" : "#fff";
}

int page_html_style(struct buf *out, const struct page_settings *page)
{
	buf_printf(out, ":root{--accent:%s;--on-accent:%s}", page->accent, colour_on(page->accent));
	return buf_append_str(out, page_style);
}

/* ---- parts of every page ---- */

/* Of the box for the picture: the picture's own, so that nothing moves when it comes, within what a page can bear. */
static void aspect(struct buf *out, const struct page_settings *page, struct picture_size size)
{
	if (size.width > 0 && size.width <= 3 * size.height && size.height <= 3 * size.width)
		buf_printf(out, "%d/%d", size.width, size.height);
	else
		buf_append_str(out, page->aspect ? page->aspect : "16/9");
}

static void style_element(struct buf *out, const struct page_settings *page, struct picture_size size,
			  const char *nonce)
{
	buf_printf(out, "<style nonce=\"%s\">:root{--aspect:", nonce);
	aspect(out, page, size);
	buf_append_str(out, "}");
	page_html_style(out, page);
	buf_append_str(out, "</style>");
}

/* A page without an icon makes browsers ask for one at the top of the site. */
static void icon(struct buf *out, const struct page_settings *page)
{
	buf_append_str(out, "<link rel=\"icon\" href=\"");
	text(out, page->logo && page->logo[0] ? page->logo : "../logo");
	buf_append_str(out, "\">");
}

static const char *direction(const char *language)
{
	static const char *const leftwards[] = { "ar", "arc", "ckb", "dv", "fa", "he",
						 "ks", "ps",  "sd",  "ug", "ur", "yi" };
	size_t length = strcspn(language, "-_");

	for (size_t i = 0; i < ARRAY_SIZE(leftwards); i++)
		if (strlen(leftwards[i]) == length && strncasecmp(leftwards[i], language, length) == 0)
			return "rtl";
	return "ltr";
}

static void head(struct buf *out, const struct page_settings *page, struct slice title)
{
	buf_append_str(out,
		       "<meta charset=\"utf-8\">"
		       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
		       "<meta name=\"color-scheme\" content=\"light dark\">"
		       "<meta name=\"theme-color\" media=\"(prefers-color-scheme:light)\" content=\"#f4f5f8\">"
		       "<meta name=\"theme-color\" media=\"(prefers-color-scheme:dark)\" content=\"#0e1014\"><title>");
	html_text(out, title);
	buf_append_str(out, " · ");
	text(out, page->name);
	buf_append_str(out, "</title>");
	icon(out, page);
}

static void logo(struct buf *out, const struct page_settings *page)
{
	bool has = page->logo && page->logo[0];

	if (has)
		buf_printf(out, "<img class=\"logo\" src=\"%s\" alt=\"\">", page->logo);
	buf_printf(out, "<span class=\"%s\">", has ? "name" : "name dot");
	text(out, page->name);
	buf_append_str(out, "</span>");
}

static void paragraph(struct buf *out, const char *attributes, struct slice content)
{
	buf_printf(out, "<p %s%s>", attributes, content.size == 0 ? " hidden" : "");
	html_text(out, content);
	buf_append_str(out, "</p>");
}

/* ---- what others show when the link is shared ---- */

static void meta(struct buf *out, const char *attribute, const char *name, struct slice content)
{
	buf_printf(out, "<meta %s=\"%s\" content=\"", attribute, name);
	html_text(out, content);
	buf_append_str(out, "\">");
}

/* Its address is another when the picture is: those who keep it for the link fetch it anew. */
static void picture(struct buf *out, const struct page_content *p, const char *what, const struct msg_artifact *a,
		    struct slice title)
{
	struct media_url url = media_url_make(p->job->link, what, a);
	struct picture_size size = p->size;

	meta(out, "property", "og:image", slice_str(url.text));
	meta(out, "property", "og:image:type", a->content_type);
	if (size.width > 0)
		buf_printf(out,
			   "<meta property=\"og:image:width\" content=\"%d\">"
			   "<meta property=\"og:image:height\" content=\"%d\">",
			   size.width, size.height);
	meta(out, "property", "og:image:alt", title);
	meta(out, "name", "twitter:image", slice_str(url.text));
}

/* What is said of it stays where the link was shown for as long as that is: before the end a place in line would soon
 * be wrong there. */
static void sharing(struct buf *out, const struct page_content *p, struct slice title, struct slice headline)
{
	struct slice words = is_pending(p) ? slice_str(words_of(p, PAGE_TEXT_shared)) : headline;

	enum media_class still = class_of_preview(p), result = class_of_result(p);
	const struct msg_job *job = p->job;
	bool shown = still == MEDIA_IMAGE || result == MEDIA_IMAGE;

	meta(out, "property", "og:title", title);
	meta(out, "property", "og:description", words);
	meta(out, "property", "og:site_name", slice_str(p->page->name));
	meta(out, "property", "og:type", slice_str(result == MEDIA_VIDEO ? "video.other" : "website"));
	meta(out, "name", "twitter:card", slice_str(shown ? "summary_large_image" : "summary"));
	meta(out, "name", "twitter:title", title);
	meta(out, "name", "twitter:description", words);
	if (!job->has_link)
		return;
	meta(out, "property", "og:url", job->link);
	if (result == MEDIA_IMAGE)
		picture(out, p, "result", p->result, title);
	else if (still == MEDIA_IMAGE)
		picture(out, p, "preview", p->preview, title);
	if (result == MEDIA_VIDEO) {
		meta(out, "property", "og:video", slice_str(media_url_make(job->link, "result", p->result).text));
		meta(out, "property", "og:video:type", p->result->content_type);
	}
}

/* ---- picture ---- */

static struct media_url url_of(const struct page_content *p, const char *what, const struct msg_artifact *a)
{
	return media_url_make(slice_str(p->token), what, a);
}

static void image(struct buf *out, const struct page_content *p, const char *what, const struct msg_artifact *a,
		  struct slice title)
{
	buf_printf(out, "<img src=\"%s\" alt=\"", url_of(p, what, a).text);
	html_text(out, title);
	buf_append_str(out, "\">");
}

static void player(struct buf *out, const struct page_content *p, const char *element, bool poster, struct slice title)
{
	buf_printf(out, "<%s controls playsinline preload=\"metadata\" src=\"%s\" aria-label=\"", element,
		   url_of(p, "result", p->result).text);
	html_text(out, title);
	buf_append_str(out, "\"");
	if (poster)
		buf_printf(out, " poster=\"%s\"", url_of(p, "preview", p->preview).text);
	buf_printf(out, "></%s>", element);
}

static void media(struct buf *out, const struct page_content *p, struct slice title)
{
	enum media_class result = class_of_result(p);
	bool still = class_of_preview(p) == MEDIA_IMAGE;

	/* Nothing to show and nothing to come: no box. */
	if (result == MEDIA_OTHER && !still && job_state_final(p->job->state))
		return;
	buf_append_str(out, "<div id=\"media\">");
	if (result == MEDIA_VIDEO)
		player(out, p, "video", still, title);
	else if (result == MEDIA_IMAGE)
		image(out, p, "result", p->result, title);
	else if (still)
		image(out, p, "preview", p->preview, title);
	else
		buf_append_str(out, "<div class=\"blank\"></div>");
	if (result == MEDIA_AUDIO)
		player(out, p, "audio", false, title);
	buf_append_str(out, "</div>");
}

/* ---- words ---- */

static void progress(struct buf *out, const struct page_content *p)
{
	buf_append_str(out, "<progress id=\"bar\" max=\"1\" aria-label=\"");
	text(out, words_of(p, PAGE_TEXT_progress));
	buf_append_str(out, "\"");
	if (p->job->has_progress)
		buf_printf(out, " value=\"%.4g\"", p->job->progress);
	buf_append_str(out, p->job->state == JOB_RUNNING ? "></progress>" : " hidden></progress>");
}

static void button(struct buf *out, const struct page_content *p, const char *class, const char *what,
		   enum page_text label)
{
	buf_printf(out, "<a class=\"%s\" href=\"%s/%s?download\" download>", class, p->token, what);
	text(out, words_of(p, label));
	buf_append_str(out, "</a>");
}

/* Only the script can share, so only the script shows it. */
static void share_button(struct buf *out, const struct page_content *p)
{
	buf_printf(out, "<button id=\"share\" class=\"%s\" type=\"button\" hidden data-copied=\"",
		   is_pending(p) ? "button" : "button quiet");
	text(out, words_of(p, PAGE_TEXT_copied));
	buf_append_str(out, "\">");
	text(out, words_of(p, PAGE_TEXT_share));
	buf_append_str(out, "</button>");
}

static void actions(struct buf *out, const struct page_content *p)
{
	buf_append_str(out, "<div id=\"actions\">");
	/* Until there is something to keep, the link is what one has to give. */
	if (is_pending(p))
		share_button(out, p);
	if (p->result)
		button(out, p, "button", "result", PAGE_TEXT_download);
	else if (class_of_preview(p) == MEDIA_IMAGE)
		button(out, p, "button quiet", "preview", PAGE_TEXT_save_still);
	if (p->result)
		share_button(out, p);
	buf_append_str(out, "</div>");
}

static void hint(struct buf *out, const struct page_content *p)
{
	if (!is_pending(p))
		return;
	buf_append_str(out, "<p id=\"hint\" class=\"hint\" data-offline=\"");
	text(out, words_of(p, PAGE_TEXT_offline));
	buf_append_str(out, "\">");
	text(out, words_of(p, PAGE_TEXT_come_back));
	buf_append_str(out, "</p>");
}

static void shown_url(struct buf *out, const struct page_content *p, const char *what, const struct msg_artifact *a)
{
	if (a && p->job->has_link)
		text(out, media_url_make(p->job->link, what, a).text);
}

/* What the script compares with the status, to know when it has to fetch the page anew. */
static void attributes(struct buf *out, const struct page_content *p)
{
	buf_printf(out, "class=\"%s\" data-retry=\"%d\" data-aspect=\"", is_pending(p) ? "wait" : "rest",
		   words_retry_after(p->job));
	aspect(out, p->page, p->size);
	buf_printf(out, "\" data-shows=\"%s|", job_state_names[p->job->state]);
	shown_url(out, p, "preview", p->preview);
	buf_append_str(out, "|");
	shown_url(out, p, "result", p->result);
	buf_append_str(out, "\"");
}

/* In a file of its own, so that whoever returns, and every page that takes over news from a new one, has it already. A
 * page that waits and cannot get it would never tell of an end: it then looks again by itself, as without scripts, once
 * it is not offline. It listens before there is anything to fail, for the rest of the page may be long in coming. */
static void script(struct buf *out, const struct page_content *p)
{
	const char *path = p->page->script ? p->page->script : "../page.js";

	if (is_pending(p))
		buf_printf(out,
			   "<script nonce=\"%s\">addEventListener('error',e=>{"
			   "const look=()=>navigator.onLine?location.reload():setTimeout(look,5e3);"
			   "if((e.target.src||'').includes('/page.js'))setTimeout(look,%de3)},true)</script>",
			   p->nonce, again_s(p));
	buf_printf(out, "<script src=\"%s\" nonce=\"%s\" defer></script>", path, p->nonce);
}

/* ---- the page of a job ---- */

/* What is said of it, made once for all places where it stands. */
struct said {
	const struct page_content *p;
	struct slice title, headline, detail;
};

static void heading(struct buf *out, const struct said *s)
{
	buf_append_str(out, "<h1 id=\"title\" dir=\"auto\">");
	html_text(out, s->title);
	buf_append_str(out, "</h1>");
}

static void spoken_words(struct buf *out, const struct said *s)
{
	buf_append_str(out, "<div role=\"status\" aria-live=\"polite\">");
	paragraph(out, "id=\"headline\"", s->headline);
	paragraph(out, "id=\"detail\"", s->detail);
	buf_append_str(out, "</div>");
}

static struct slice note_of(const struct page_content *p)
{
	return is_pending(p) && p->job->has_note ? p->job->note : slice_str("");
}

static void remark(struct buf *out, const struct page_content *p)
{
	paragraph(out, "id=\"note\" dir=\"auto\"", note_of(p));
}

static void whole_head(struct buf *out, const struct said *s)
{
	const struct page_content *p = s->p;

	head(out, p->page, s->title);
	sharing(out, p, s->title, s->headline);
	if (is_pending(p))
		buf_printf(out, "<noscript><meta http-equiv=\"refresh\" content=\"%d\"></noscript>", again_s(p));
	style_element(out, p->page, p->size, p->nonce);
}

static void content(struct buf *out, const struct said *s)
{
	const struct page_content *p = s->p;

	buf_append_str(out, "<main ");
	attributes(out, p);
	buf_append_str(out, ">");
	media(out, p, s->title);
	buf_append_str(out, "<div class=\"text\">");
	heading(out, s);
	spoken_words(out, s);
	progress(out, p);
	remark(out, p);
	actions(out, p);
	hint(out, p);
	buf_append_str(out, "</div></main>");
}

/* Slots that are a text. */
static struct slice text_of(const struct said *s, enum page_slot slot)
{
	const struct msg_job *job = s->p->job;

	switch (slot) {
	case PAGE_SLOT_lang:
		return slice_str(words_of(s->p, PAGE_TEXT_language));
	case PAGE_SLOT_dir:
		return slice_str(direction(words_of(s->p, PAGE_TEXT_language)));
	case PAGE_SLOT_name:
		return slice_str(s->p->page->name);
	case PAGE_SLOT_nonce:
		return slice_str(s->p->nonce);
	case PAGE_SLOT_title:
		return s->title;
	case PAGE_SLOT_headline:
		return s->headline;
	case PAGE_SLOT_detail:
		return s->detail;
	case PAGE_SLOT_note:
		return note_of(s->p);
	case PAGE_SLOT_state:
		return slice_str(job_state_names[job->state]);
	case PAGE_SLOT_link:
		return job->has_link ? job->link : slice_str("");
	case PAGE_SLOT_pending:
		return slice_str(is_pending(s->p) ? "1" : "");
	case PAGE_SLOT_succeeded:
		return slice_str(job->state == JOB_SUCCEEDED ? "1" : "");
	case PAGE_SLOT_failed:
		return slice_str(!is_pending(s->p) && job->state != JOB_SUCCEEDED ? "1" : "");
	default:
		return slice_str("");
	}
}

static void fill_cb(struct buf *out, enum page_slot slot, const void *user)
{
	const struct said *s = user;
	const struct page_content *p = s->p;

	switch (slot) {
	case PAGE_SLOT_head:
		return whole_head(out, s);
	case PAGE_SLOT_logo:
		return logo(out, p->page);
	case PAGE_SLOT_content:
		return content(out, s);
	case PAGE_SLOT_attributes:
		return attributes(out, p);
	case PAGE_SLOT_media:
		return media(out, p, s->title);
	case PAGE_SLOT_heading:
		return heading(out, s);
	case PAGE_SLOT_words:
		return spoken_words(out, s);
	case PAGE_SLOT_progress:
		return progress(out, p);
	case PAGE_SLOT_remark:
		return remark(out, p);
	case PAGE_SLOT_actions:
		return actions(out, p);
	case PAGE_SLOT_hint:
		return hint(out, p);
	case PAGE_SLOT_script:
		return script(out, p);
	default:
		html_text(out, text_of(s, slot));
	}
}

/* The broker's own page, in the words of a template. */
static void own_page(struct buf *out, page_slot_cb fill, const void *user)
{
	buf_append_str(out, "<!doctype html><html lang=\"");
	fill(out, PAGE_SLOT_lang, user);
	buf_append_str(out, "\" dir=\"");
	fill(out, PAGE_SLOT_dir, user);
	buf_append_str(out, "\"><head>");
	fill(out, PAGE_SLOT_head, user);
	buf_append_str(out, "</head><body><header>");
	fill(out, PAGE_SLOT_logo, user);
	buf_append_str(out, "</header>");
	fill(out, PAGE_SLOT_content, user);
	fill(out, PAGE_SLOT_script, user);
	buf_append_str(out, "</body></html>\n");
}

static void write_page(struct buf *out, const struct page_template *t, page_slot_cb fill, const void *user)
{
	if (t)
		page_template_write(t, out, fill, user);
	else
		own_page(out, fill, user);
}

int page_html_job(struct buf *out, const struct page_content *p)
{
	const struct msg_job *job = p->job;
	struct buf headline, detail;
	struct said said = { .p = p };

	buf_init(&headline, WORDS_MAX);
	buf_init(&detail, WORDS_MAX);
	words_headline(&headline, p->page, job, p->now_ms);
	words_detail(&detail, p->page, job);
	said.headline = buf_slice(&headline);
	said.detail = buf_slice(&detail);
	said.title = job->has_title && job->title.size > 0 ? job->title : slice_str(words_of(p, PAGE_TEXT_untitled));
	write_page(out, p->page->job, fill_cb, &said);
	buf_done(&headline);
	buf_done(&detail);
	return buf_error(out);
}

/* ---- notices ---- */

struct notice {
	const struct page_settings *page;
	const char *nonce;
	enum page_text headline, detail;
};

static void notice_content(struct buf *out, const struct notice *n)
{
	buf_append_str(out, "<main class=\"rest\"><div class=\"text\"><h1 id=\"headline\">");
	text(out, page_text(n->page, n->headline));
	buf_append_str(out, "</h1>");
	paragraph(out, "id=\"detail\"", slice_str(page_text(n->page, n->detail)));
	buf_append_str(out, "</div></main>");
}

static void notice_fill_cb(struct buf *out, enum page_slot slot, const void *user)
{
	const struct notice *n = user;

	switch (slot) {
	case PAGE_SLOT_lang:
		return text(out, page_text(n->page, PAGE_TEXT_language));
	case PAGE_SLOT_dir:
		return text(out, direction(page_text(n->page, PAGE_TEXT_language)));
	case PAGE_SLOT_name:
		return text(out, n->page->name);
	case PAGE_SLOT_nonce:
		return text(out, n->nonce);
	case PAGE_SLOT_title:
	case PAGE_SLOT_headline:
		return text(out, page_text(n->page, n->headline));
	case PAGE_SLOT_detail:
		return text(out, page_text(n->page, n->detail));
	case PAGE_SLOT_head:
		head(out, n->page, slice_str(page_text(n->page, n->headline)));
		return style_element(out, n->page, (struct picture_size){ 0 }, n->nonce);
	case PAGE_SLOT_logo:
		return logo(out, n->page);
	case PAGE_SLOT_content:
		return notice_content(out, n);
	default:
		return;
	}
}

int page_html_notice(struct buf *out, const struct page_settings *page, const char *nonce, enum page_text headline,
		     enum page_text detail)
{
	const struct notice notice = { .page = page, .nonce = nonce, .headline = headline, .detail = detail };

	write_page(out, page->notice, notice_fill_cb, &notice);
	return buf_error(out);
}
