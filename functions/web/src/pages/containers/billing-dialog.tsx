import { useEffect, useRef, useState } from 'react';
import type { SchemaAgentBillingRequest } from '../../api/openapi.gen';
import { useConfig } from '../../data/credit';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Field, Select, TextInput } from '../../ui/field';
import { unitPrice } from '../../ui/format';
import { Refusal } from '../../ui/refusal';
import { useAgentBilling } from './operations';
import { type Choice, effectOf, rateOf, requestOf } from './pricing';
import type { ContainerView } from './view';

/** An operator decides whether an agent is charged, and how much. */
export function BillingDialog({ view, onClose }: { view: ContainerView; onClose: () => void }) {
  const [choice, setChoice] = useState<Choice>('list');
  const [rate, setRate] = useState('');
  const [reviewed, setReviewed] = useState<SchemaAgentBillingRequest | null>(null);
  const price = useConfig().data?.prices.running ?? null;
  const change = useAgentBilling(view, onClose);
  const back = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (reviewed) back.current?.focus();
  }, [reviewed]);
  const asked = requestOf(choice, rate);
  const whose = view.organization ? `${view.name} of ${view.organization}` : view.name;
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    if (reviewed) change.run(reviewed);
    else setReviewed(asked);
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title={`What ${view.name} costs`}
      footer={
        <>
          <Button ref={back} onClick={reviewed ? () => setReviewed(null) : onClose}>
            {reviewed ? 'Back' : 'Cancel'}
          </Button>
          <Button
            type="submit"
            form="agent-billing"
            look={reviewed ? 'danger' : 'primary'}
            disabled={asked === null}
            busy={change.busy}
          >
            {reviewed ? 'Change it' : 'Review'}
          </Button>
        </>
      }
    >
      <form id="agent-billing" className="stack" onSubmit={submit}>
        {reviewed ? (
          <>
            <p>
              <strong>{whose}</strong>
            </p>
            <ul className="stack">
              {effectOf(choice, rateOf(rate), price).map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
            <p className="muted">It replaces what is set now. Written to the audit log as you.</p>
          </>
        ) : (
          <>
            <Field label="Charged">
              <Select value={choice} onChange={(event) => setChoice(event.target.value as Choice)}>
                <option value="list">At the list price{price === null ? '' : ` (${unitPrice(price)} an hour)`}</option>
                <option value="own">At a rate of its own</option>
                <option value="exempt">Not at all (exempt)</option>
              </Select>
            </Field>
            {choice === 'own' ? (
              <Field
                label="Dollars per hour while it runs"
                hint="0 to 100, at most four decimals"
                error={rate && asked === null ? 'It must be 0 to 100 with at most four decimals.' : null}
              >
                <TextInput
                  value={rate}
                  inputMode="decimal"
                  autoComplete="off"
                  placeholder="0.015"
                  onChange={(event) => setRate(event.target.value)}
                />
              </Field>
            ) : null}
          </>
        )}
      </form>
      {change.error ? <Refusal error={change.error} title="Not changed" /> : null}
    </Dialog>
  );
}
