import { memo } from 'react';
import { HEIGHT, sparkPath, type Values, WIDTH } from './spark';

type Props = {
  /** What the lines show, in words, for those who do not see them. */
  readonly label: string;
  /** In milliseconds, ascending; each line has a value for each. */
  readonly times: readonly number[];
  /** One or two; the second is dashed. */
  readonly lines: readonly Values[];
  readonly to: number;
  readonly max: number;
};

const DASHES = [undefined, '3 3'];

/** The last 24 hours as small lines. Drawn with attributes alone: it needs no styles, and has the colour of the text. */
export const Sparkline = memo(function Sparkline({ label, times, lines, to, max }: Props) {
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} role="img" aria-label={label}>
      <path d={`M0 ${HEIGHT - 0.5}h${WIDTH}`} stroke="currentColor" strokeWidth="1" opacity="0.3" />
      {lines.map((values, index) => (
        <path
          // biome-ignore lint/suspicious/noArrayIndexKey: lines have no identity
          key={index}
          d={sparkPath(times, values, to, max)}
          fill="none"
          stroke="currentColor"
          strokeWidth="1.5"
          strokeLinecap="round"
          strokeLinejoin="round"
          strokeDasharray={DASHES[index]}
        />
      ))}
    </svg>
  );
});
