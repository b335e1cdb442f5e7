import { money } from './format';

/** Two decimals by default; all six are the title. `null` is "not known", which is not zero. */
export function Money({ amount, digits = 2, per }: { amount: number | null; digits?: 2 | 4 | 6; per?: 'h' }) {
  if (amount === null) return <span className="muted">-</span>;
  const unit = per ? '/h' : '';
  return (
    <span
      className="nowrap"
      onPointerEnter={(event) => {
        event.currentTarget.title = `${money(amount, 6)}${unit}`;
      }}
    >
      {money(amount, digits)}
      {unit}
    </span>
  );
}
