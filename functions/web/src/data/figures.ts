/** What an agent's container uses, as lines and words. Pure. */
import type { SchemaFigureSeries } from '../api/openapi.gen';
import { bytes } from '../ui/format';
import type { Values } from '../ui/spark';

export type FigureLine = {
  readonly name: string;
  /** The last values, in words. */
  readonly now: string;
  readonly note: string | null;
  readonly lines: readonly Values[];
  /** The top of the picture. */
  readonly max: number;
  /** The picture in a sentence. */
  readonly sentence: string;
};

type Words = (value: number) => string;
type Part = { readonly word: string; readonly values: Values };

const processors: Words = (millis) => `${(millis / 1000).toFixed(2)} CPUs`;
const perSecond: Words = (size) => `${bytes(size)}/s`;
const known = (values: Values) => values.filter((value) => value !== null);

function extent({ word, values }: Part, words: Words): string {
  const all = known(values);
  const what = word === '' ? '' : `${word} `;
  if (all.length === 0) return `${what}not known`;
  const [least, most] = [words(Math.min(...all)), words(Math.max(...all))];
  return least === most ? `${what}${least}` : `${what}${least} to ${most}`;
}

function line(
  name: string,
  parts: readonly Part[],
  words: Words,
  top: { least: number } | { max: number },
): FigureLine {
  const now = parts.map(({ word, values }) => {
    const last = values.at(-1) ?? null;
    return last === null ? null : word === '' ? words(last) : `${words(last)} ${word}`;
  });
  const shown = now.filter((text) => text !== null);
  return {
    name,
    now: shown.length === 0 ? 'not known' : shown.join(', '),
    note: null,
    lines: parts.map(({ values }) => values),
    max: 'max' in top ? top.max : Math.max(top.least, ...parts.flatMap(({ values }) => known(values))),
    sentence: `${name} in the last 24 hours: ${parts.map((part) => extent(part, words)).join(', ')}`,
  };
}

/** Processor, memory, network and disk. */
export function figureLines(series: SchemaFigureSeries): readonly FigureLine[] {
  const limit = series.memoryLimitBytes;
  const memory = [{ word: '', values: series.memoryBytes }];
  return [
    line('Processor', [{ word: '', values: series.cpuMillis }], processors, { least: 100 }),
    {
      ...line('Memory', memory, bytes, limit === null ? { least: 1 } : { max: limit }),
      note: limit === null ? null : `of ${bytes(limit)}`,
    },
    line(
      'Network',
      [
        { word: 'in', values: series.receivedBytesPerSecond },
        { word: 'out', values: series.sentBytesPerSecond },
      ],
      perSecond,
      { least: 1024 },
    ),
    line(
      'Disk',
      [
        { word: 'read', values: series.readBytesPerSecond },
        { word: 'written', values: series.writtenBytesPerSecond },
      ],
      perSecond,
      { least: 1024 },
    ),
  ];
}
