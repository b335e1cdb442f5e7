import type { Fact } from './facts';

type Pair = readonly [name: string, value: Fact['value']];

/** Facts as pairs. Null and false are left out. */
export const factList = (pairs: readonly (Pair | null | false)[]): readonly Fact[] =>
  pairs.flatMap((pair) => (pair ? [{ name: pair[0], value: pair[1] }] : []));
