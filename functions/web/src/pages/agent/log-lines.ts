/** Lines of a container's log. Pure. */
export type Line = {
  readonly seq: number;
  readonly at: string | null;
  readonly text: string;
  /** The agent did not write it: lines may be missing here. */
  readonly gap?: true;
};
export type Log = {
  readonly lines: readonly Line[];
  /** Lines that were dropped at the beginning because there were too many. */
  readonly dropped: number;
};

export const KEPT = 5_000;
export const EMPTY_LOG: Log = { lines: [], dropped: 0 };
/** Copied and downloaded with the lines, so it must not look like one of the agent's. */
const GAP = '--- Lines may be missing here: there were too many, or the agent was started again. ---';

const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ?(.*)$/s;

function parse(text: string): Omit<Line, 'seq'>[] {
  if (!text) return [];
  return text
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => {
      const match = STAMP.exec(line.replace(/\r$/, ''));
      return match ? { at: match[1] ?? null, text: match[2] ?? '' } : { at: null, text: line };
    });
}

/** Docker's stamps have up to nine decimals, so they are compared as text of equal length. */
const comparable = (at: string): string => {
  const [whole, decimals = ''] = at.replace('Z', '').split('.');
  return `${whole}.${decimals.padEnd(9, '0')}`;
};

/**
 * Adds an answer to `since=<last stamp>`. That includes the last stamp itself, so lines that are held already go. An
 * answer without that stamp does not continue what is held: the server cuts long answers at the beginning, and the log
 * of a new container begins anew.
 */
export function append(log: Log, text: string): Log {
  const last = log.lines.findLast((line) => line.at !== null)?.at ?? null;
  let fresh = parse(text);
  if (last !== null) {
    const edge = comparable(last);
    const continues = fresh.some((line) => line.at !== null && comparable(line.at) === edge);
    const held = new Map<string, number>();
    for (const line of log.lines) {
      if (line.at !== null && comparable(line.at) === edge) held.set(line.text, (held.get(line.text) ?? 0) + 1);
    }
    fresh = fresh.filter((line) => {
      if (line.at === null) return false;
      const at = comparable(line.at);
      if (at !== edge) return at > edge;
      const left = held.get(line.text) ?? 0;
      held.set(line.text, left - 1);
      return left <= 0;
    });
    if (!continues && fresh.length > 0) fresh.unshift({ at: null, text: GAP, gap: true });
  }
  if (fresh.length === 0) return log;
  const next = (log.lines.at(-1)?.seq ?? -1) + 1;
  const all = [...log.lines, ...fresh.map((line, index) => ({ ...line, seq: next + index }))];
  const lines = all.slice(-KEPT);
  return { lines, dropped: log.dropped + all.length - lines.length };
}

export const lastStamp = (log: Log): string | null => log.lines.findLast((line) => line.at !== null)?.at ?? null;

export type Piece = { readonly text: string; readonly color: number | null; readonly bold: boolean };

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are made of them
const ESCAPE = /\u001b\[([0-9;?]*)([A-Za-z])|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b./g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: what is left of them must not reach the page
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Colours become pieces, every other escape sequence goes. Text stays text: nothing is ever taken for HTML. */
export function pieces(text: string): readonly Piece[] {
  const all: Piece[] = [];
  let color: number | null = null;
  let bold = false;
  let from = 0;
  const put = (until: number) => {
    const clean = text.slice(from, until).replace(CONTROL, '');
    if (clean) all.push({ text: clean, color, bold });
  };
  for (const match of text.matchAll(ESCAPE)) {
    put(match.index);
    from = match.index + match[0].length;
    if (match[2] !== 'm') continue;
    for (const code of (match[1] || '0').split(';').map(Number)) {
      if (code === 0) [color, bold] = [null, false];
      else if (code === 1) bold = true;
      else if (code === 22) bold = false;
      else if (code >= 30 && code <= 37) color = code - 30;
      else if (code >= 90 && code <= 97) color = code - 90;
      else if (code === 39) color = null;
    }
  }
  put(text.length);
  return all;
}

export const plain = (text: string): string => text.replace(ESCAPE, '').replace(CONTROL, '');
