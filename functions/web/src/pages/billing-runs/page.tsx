import { useUrlState } from '../../data/url';
import { Chips } from '../../ui/field';
import { Findings } from './findings';
import { Runs } from './run-list';

const DEFAULTS = { view: 'runs', state: 'open' };
const VIEWS = [
  { value: 'runs', label: 'Runs' },
  { value: 'findings', label: 'Findings of the audit' },
] as const;

/** Whether billing runs, and whether it adds up. */
export default function BillingRuns() {
  const [state, change] = useUrlState(DEFAULTS);
  const view = state.view === 'findings' ? 'findings' : 'runs';
  const chips = <Chips label="Show" value={view} onChange={(next) => change({ view: next })} options={VIEWS} />;
  return view === 'runs' ? (
    <Runs>{chips}</Runs>
  ) : (
    <Findings state={state.state} onState={(next) => change({ state: next })}>
      {chips}
    </Findings>
  );
}
