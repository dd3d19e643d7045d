package notify

import "strings"

// linkForm writes a link as a service reads it. name is a fixed word of plancast's,
// and url has passed through target.
type linkForm func(name, url string) string

func plainLink(name, url string) string    { return name + ": " + url }
func markdownLink(name, url string) string { return "[" + name + "](" + url + ")" }
func slackLink(name, url string) string    { return "<" + url + "|" + name + ">" }

// linkForms are those of services whose markup has links. The others make links of
// plain addresses by themselves, or show them.
var linkForms = map[string]linkForm{
	"slack": slackLink, "googlechat": slackLink,
	"discord": markdownLink, "mattermost": markdownLink, "rocketchat": markdownLink, "teams": markdownLink, "zulip": markdownLink,
}

// withLinks is the message's text, followed by its links in the form of a service. A
// message that an older plancast queued has them in its text.
func (m Message) withLinks(service string) string {
	form := linkForms[service]
	if form == nil {
		form = plainLink
	}
	text := m.Text
	for _, l := range []struct{ name, url string }{{"Change", m.Change}, {"Report", m.Link}} {
		if l.url != "" && !strings.Contains(m.Text, l.url) {
			text += "\n" + form(l.name, target(l.url))
		}
	}
	return text
}

// target is a URL that ends no form of a link and mentions nobody. Package change
// has encoded angle brackets, bars and quotes.
func target(url string) string {
	return strings.NewReplacer("(", "%28", ")", "%29", "@", "%40").Replace(url)
}
