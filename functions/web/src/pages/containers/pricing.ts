/** What a change of an agent's price means, said before it is sent. Pure. */
import type { SchemaAgentBillingRequest } from '../../api/openapi.gen';
import { unitPrice } from '../../ui/format';

export type Choice = 'list' | 'own' | 'exempt';

/** Null if it is no rate that the API takes. */
export function rateOf(text: string): number | null {
  const trimmed = text.trim();
  if (!/^\d{1,3}(\.\d{1,4})?$/.test(trimmed)) return null;
  const rate = Number(trimmed);
  return rate <= 100 ? rate : null;
}

export function requestOf(choice: Choice, text: string): SchemaAgentBillingRequest | null {
  switch (choice) {
    case 'list':
      return { exempt: false, hourlyRate: null };
    case 'own': {
      const hourlyRate = rateOf(text);
      return hourlyRate === null ? null : { exempt: false, hourlyRate };
    }
    case 'exempt':
      return { exempt: true };
    default:
      return choice satisfies never;
  }
}

export function effectOf(choice: Choice, rate: number | null, price: number | null): readonly string[] {
  switch (choice) {
    case 'exempt':
      return [
        'From now on it is not metered, charged, warned or suspended, as long as it is exempt.',
        'What is owed for it stays owed, and a stop that was accepted goes on.',
      ];
    case 'own':
      return [
        `From now on it costs ${unitPrice(rate ?? 0)} an hour while it runs${price === null ? '' : `; the list price is ${unitPrice(price)}`}.`,
        'Time that it used before is charged at the rate of that time. An exemption ends.',
      ];
    case 'list':
      return [
        `From now on it costs the list price${price === null ? '' : `, ${unitPrice(price)} an hour`}, while it runs, also when that changes.`,
        'Time that it used before is charged at the rate of that time. An exemption ends.',
      ];
    default:
      return choice satisfies never;
  }
}
