// Server-sent events out of a fetch body (HTML standard, section 9.2.6).

/** Feeds text in pieces cut anywhere; calls on.data(text) for events, on.comment(text) for `: …`. */
export class EventParser {
  constructor(on) {
    this.on = on;
    this.rest = '';
    this.data = [];
    this.skipNewline = false;
  }

  push(text) {
    this.rest += text;
    let begin = 0;
    for (let at = 0; at < this.rest.length; at += 1) {
      const mark = this.rest[at];
      if (mark === '\n' && this.skipNewline) {
        this.skipNewline = false;
        begin = at + 1;
      } else if (mark === '\n' || mark === '\r') {
        this.line(this.rest.slice(begin, at));
        this.skipNewline = mark === '\r';
        begin = at + 1;
      } else {
        this.skipNewline = false;
      }
    }
    this.rest = this.rest.slice(begin);
  }

  line(text) {
    if (text === '') {
      if (this.data.length > 0) this.on.data(this.data.join('\n'));
      this.data = [];
    } else if (text.startsWith(':')) {
      this.on.comment(text.slice(1).trim());
    } else if (text.startsWith('data:')) {
      this.data.push(text.slice(text[5] === ' ' ? 6 : 5));
    }
  }
}

/** Reads a response to its end. */
export async function readEvents(response, on) {
  const parser = new EventParser(on);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.push(value);
  }
}
