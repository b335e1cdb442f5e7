/** What of the bill is asked for. Pure. */
import { nextDay } from '../../ui/format-more';

export type BillFilters = {
  readonly type: string;
  readonly agent: string;
  /** Days, both of them included. */
  readonly from: string;
  readonly to: string;
};

/** The API's `to` is not in the period any more. */
export const bounds = ({ from, to }: Pick<BillFilters, 'from' | 'to'>): { from?: string; to?: string } => {
  const end = nextDay(to);
  return { ...(nextDay(from) ? { from } : {}), ...(end ? { to: end } : {}) };
};

export const historyQuery = (filters: BillFilters) => ({
  limit: 50,
  ...bounds(filters),
  ...(filters.agent ? { agentId: filters.agent } : filters.type ? { type: filters.type } : {}),
});
