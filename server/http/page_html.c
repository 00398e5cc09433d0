#include "page_html.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/text.h"
#include "server/http/html.h"
#include "server/http/media_type.h"
#include "server/http/page_assets.h"
#include "server/http/words.h"

static void text(struct buf *out, const char *s)
{
	html_text(out, slice_str(s));
}

static const char *words_of(const struct page_content *p, enum page_text which)
{
	return page_text(p->page, which);
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

static void begin(struct buf *out, const struct page_settings *page, const char *title)
{
	buf_append_str(out, "<!doctype html><html lang=\"");
	text(out, page_text(page, PAGE_TEXT_language));
	buf_append_str(out, "\"><head><meta charset=\"utf-8\">"
			    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
	text(out, title);
	buf_append_str(out, " · ");
	text(out, page->name);
	buf_append_str(out, "</title>");
}

static void open_body(struct buf *out, const struct page_settings *page)
{
	buf_append_str(out, "</head><body><header>");
	text(out, page->name);
	buf_append_str(out, "</header>");
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

static void meta_url(struct buf *out, const char *attribute, const char *name, const struct msg_job *job,
		     const char *what)
{
	char url[560];

	snprintf(url, sizeof(url), "%.*s/%s", SLICE_FMT(job->link), what);
	meta(out, attribute, name, slice_str(url));
}

static void sharing(struct buf *out, const struct page_content *p, struct slice title, struct slice headline)
{
	enum media_class still = p->preview ? media_class_of(p->preview->content_type) : MEDIA_OTHER;
	enum media_class result = p->result ? media_class_of(p->result->content_type) : MEDIA_OTHER;
	const struct msg_job *job = p->job;

	meta(out, "property", "og:title", title);
	meta(out, "property", "og:description", headline);
	meta(out, "property", "og:site_name", slice_str(p->page->name));
	meta(out, "property", "og:type", slice_str(result == MEDIA_VIDEO ? "video.other" : "website"));
	meta(out, "name", "twitter:card", slice_str(still == MEDIA_IMAGE ? "summary_large_image" : "summary"));
	meta(out, "name", "twitter:title", title);
	meta(out, "name", "twitter:description", headline);
	if (!job->has_link)
		return;
	meta(out, "property", "og:url", job->link);
	if (still == MEDIA_IMAGE || result == MEDIA_IMAGE) {
		const char *what = still == MEDIA_IMAGE ? "preview" : "result";

		meta_url(out, "property", "og:image", job, what);
		meta(out, "property", "og:image:type",
		     still == MEDIA_IMAGE ? p->preview->content_type : p->result->content_type);
		meta(out, "property", "og:image:alt", title);
		meta_url(out, "name", "twitter:image", job, what);
	}
	if (result == MEDIA_VIDEO) {
		meta_url(out, "property", "og:video", job, "result");
		meta(out, "property", "og:video:type", p->result->content_type);
	}
}

/* ---- picture ---- */

static void image(struct buf *out, const struct page_content *p, const char *what, struct slice title)
{
	buf_printf(out, "<img src=\"%s/%s\" alt=\"", p->token, what);
	html_text(out, title);
	buf_append_str(out, "\">");
}

static void player(struct buf *out, const struct page_content *p, const char *element, bool poster, struct slice title)
{
	buf_printf(out, "<%s controls playsinline preload=\"metadata\" src=\"%s/result\" aria-label=\"", element,
		   p->token);
	html_text(out, title);
	buf_append_str(out, "\"");
	if (poster)
		buf_printf(out, " poster=\"%s/preview\"", p->token);
	buf_printf(out, "></%s>", element);
}

static void media(struct buf *out, const struct page_content *p, struct slice title)
{
	enum media_class result = p->result ? media_class_of(p->result->content_type) : MEDIA_OTHER;
	bool still = p->preview && media_class_of(p->preview->content_type) == MEDIA_IMAGE;

	/* Nothing to show and nothing to come: no box. */
	if (result == MEDIA_OTHER && !still && job_state_final(p->job->state))
		return;
	buf_append_str(out, "<div id=\"media\">");
	if (result == MEDIA_VIDEO)
		player(out, p, "video", still, title);
	else if (result == MEDIA_IMAGE)
		image(out, p, "result", title);
	else if (still)
		image(out, p, "preview", title);
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

static void actions(struct buf *out, const struct page_content *p)
{
	buf_append_str(out, "<div id=\"actions\">");
	if (p->result)
		button(out, p, "button", "result", PAGE_TEXT_download);
	else if (p->preview && media_class_of(p->preview->content_type) == MEDIA_IMAGE)
		button(out, p, "button quiet", "preview", PAGE_TEXT_save_still);
	buf_append_str(out, "</div>");
}

static void hint(struct buf *out, const struct page_content *p)
{
	if (job_state_final(p->job->state))
		return;
	buf_append_str(out, "<p id=\"hint\" class=\"hint\">");
	text(out, words_of(p, PAGE_TEXT_come_back));
	buf_append_str(out, "</p>");
}

/* What the script compares with the status, to know when it has to fetch the page anew. */
static void open_main(struct buf *out, const struct page_content *p)
{
	bool pending = !job_state_final(p->job->state);

	buf_printf(out, "<main class=\"%s\" data-shows=\"%s%s%s\" data-retry=\"%d\">", pending ? "wait" : "",
		   job_state_names[p->job->state], p->preview ? "+preview" : "", p->result ? "+result" : "",
		   words_retry_after(p->job));
}

static void body(struct buf *out, const struct page_content *p, struct slice title, struct slice headline,
		 struct slice detail)
{
	bool pending = !job_state_final(p->job->state);

	open_body(out, p->page);
	open_main(out, p);
	media(out, p, title);
	buf_append_str(out, "<div class=\"text\"><h1 id=\"title\" dir=\"auto\">");
	html_text(out, title);
	buf_append_str(out, "</h1><div role=\"status\" aria-live=\"polite\">");
	paragraph(out, "id=\"headline\"", headline);
	paragraph(out, "id=\"detail\"", detail);
	buf_append_str(out, "</div>");
	progress(out, p);
	paragraph(out, "id=\"note\" dir=\"auto\"", pending && p->job->has_note ? p->job->note : slice_str(""));
	actions(out, p);
	hint(out, p);
	buf_append_str(out, "</div></main>");
	if (pending) {
		buf_printf(out, "<script nonce=\"%s\">", p->nonce);
		buf_append_str(out, page_script);
		buf_append_str(out, "</script>");
	}
	buf_append_str(out, "</body></html>\n");
}

/* ---- pages ---- */

static void whole(struct buf *out, const struct page_content *p, struct slice headline, struct slice detail)
{
	const struct msg_job *job = p->job;
	struct slice title =
		job->has_title && job->title.size > 0 ? job->title : slice_str(words_of(p, PAGE_TEXT_untitled));
	char title_text[MAX_TITLE_BYTES];

	snprintf(title_text, sizeof(title_text), "%.*s", SLICE_FMT(title));
	begin(out, p->page, title_text);
	sharing(out, p, title, headline);
	if (!job_state_final(job->state))
		buf_printf(out, "<noscript><meta http-equiv=\"refresh\" content=\"%d\"></noscript>",
			   5 + words_retry_after(job));
	buf_printf(out, "<style nonce=\"%s\">", p->nonce);
	page_html_style(out, p->page);
	buf_append_str(out, "</style>");
	body(out, p, title, headline, detail);
}

int page_html_job(struct buf *out, const struct page_content *p)
{
	struct buf headline, detail;

	buf_init(&headline, WORDS_MAX);
	buf_init(&detail, WORDS_MAX);
	words_headline(&headline, p->page, p->job, p->now_ms);
	words_detail(&detail, p->page, p->job);
	whole(out, p, buf_slice(&headline), buf_slice(&detail));
	buf_done(&headline);
	buf_done(&detail);
	return buf_error(out);
}

int page_html_notice(struct buf *out, const struct page_settings *page, enum page_text headline, enum page_text detail)
{
	begin(out, page, page_text(page, headline));
	buf_append_str(out, "<style>");
	page_html_style(out, page);
	buf_append_str(out, "</style>");
	open_body(out, page);
	buf_append_str(out, "<main><div class=\"text\"><h1 id=\"headline\">");
	text(out, page_text(page, headline));
	buf_append_str(out, "</h1>");
	paragraph(out, "id=\"detail\"", slice_str(page_text(page, detail)));
	return buf_append_str(out, "</div></main></body></html>\n");
}
