import { Meter } from '../../ui/meter';
import { type Amount, amountTone, LIMITS, nearly, usedText } from './limit-words';

/** How much of a limit is used, as a small bar. */
export function UsageMeter({ amount }: { amount: Amount }) {
  const { limit, used, allowed } = amount;
  return (
    <Meter
      label={LIMITS[limit].label}
      value={used}
      text={usedText(amount)}
      max={Math.max(1, allowed)}
      marks={{ warning: nearly(allowed), critical: allowed }}
      tone={amountTone(amount)}
    />
  );
}
