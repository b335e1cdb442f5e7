import { factList } from './fact-list';
import { Facts } from './facts';
import { flattened } from './flattened';

/** A JSON value of unknown members as names and values. */
export function JsonFacts({ value }: { value: unknown }) {
  const pairs = flattened(value);
  if (pairs.length === 0) return <p className="muted">Nothing else was recorded.</p>;
  return <Facts facts={factList(pairs.map(([name, text]) => [name, text] as const))} />;
}
