import { useEffect, useRef, useState } from 'react';
import { api, unwrap } from '../../api/client';
import type { Organization } from '../../api/operations';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Field, TextArea, TextInput } from '../../ui/field';
import { money } from '../../ui/format';
import { Refusal } from '../../ui/refusal';
import { amountOf, type CreditKind, effects, TITLES } from './effects';

type Asked = { readonly amount: number; readonly reason: string };
type Answer = { readonly said: string };

async function send(kind: CreditKind, { id, name }: Organization, asked: Asked, key: string): Promise<Answer> {
  const params = { header: { 'Idempotency-Key': key } };
  const { amount, reason } = asked;
  switch (kind) {
    case 'grant': {
      const body = { organizationId: id, amount, reason };
      const { data } = await unwrap(api.POST('/api/v1/admin/credits', { body, params }));
      return { said: `${name} has ${money(data.balance)} now.` };
    }
    case 'refund': {
      const body = { organizationId: id, amount, reason };
      const { data } = await unwrap(api.POST('/api/v1/admin/credits/refund', { body, params }));
      const debt = data.carriedDebt > 0 ? ` ${money(data.carriedDebt)} became debt.` : '';
      return { said: `${money(data.refunded)} were taken back; ${name} has ${money(data.balance)} now.${debt}` };
    }
    case 'write-off': {
      const body = { organizationId: id, reason };
      const { data } = await unwrap(api.POST('/api/v1/admin/credits/write-off', { body, params }));
      return { said: `${money(data.writtenOff)} that ${name} owed are written off.` };
    }
    default:
      return kind satisfies never;
  }
}

type Props = { readonly organization: Organization; readonly kind: CreditKind; readonly onClose: () => void };

/** First the amount and the reason, then what they will do. */
export function CreditDialog({ organization, kind, onClose }: Props) {
  const [text, setText] = useState('');
  const [reason, setReason] = useState('');
  const [reviewed, setReviewed] = useState(false);
  const operation = useOperation((asked: Asked, key) => send(kind, organization, asked, key), {
    keyed: true,
    repeatable: true,
    touches: [['organizations'], ['credit'], ['history'], ['credit-series']],
    onDone: ({ said }) => {
      toast({ tone: 'ok', text: said });
      onClose();
    },
  });
  // A second Enter must not confirm what the first one asked for.
  const cancel = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (reviewed) cancel.current?.focus();
  }, [reviewed]);
  const amount = kind === 'write-off' ? 0 : amountOf(text);
  const ready = amount !== null && reason.trim() !== '';
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    if (!ready) return;
    if (reviewed) operation.run({ amount, reason: reason.trim() });
    else setReviewed(true);
  };
  const back = () => {
    operation.reset();
    setReviewed(false);
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title={`${TITLES[kind]}: ${organization.name}`}
      footer={
        <>
          <Button ref={cancel} onClick={reviewed ? back : onClose}>
            {reviewed ? 'Back' : 'Cancel'}
          </Button>
          <Button
            type="submit"
            form="credit"
            look={reviewed && kind !== 'grant' ? 'danger' : 'primary'}
            disabled={!ready}
            busy={operation.busy}
          >
            {reviewed ? TITLES[kind] : 'Review'}
          </Button>
        </>
      }
    >
      <form id="credit" className="stack" onSubmit={submit}>
        {reviewed ? (
          <Review organization={organization} kind={kind} amount={amount} reason={reason.trim()} />
        ) : (
          <>
            {kind === 'write-off' ? (
              <p>{effects(kind, organization, null)[0]}</p>
            ) : (
              <Field
                label="Amount in dollars"
                hint="At most 1,000,000, with at most six decimals"
                error={
                  text && amount === null
                    ? 'It must be more than 0, at most 1,000,000, with six decimals at most.'
                    : null
                }
              >
                <TextInput
                  value={text}
                  inputMode="decimal"
                  autoComplete="off"
                  onChange={(event) => setText(event.target.value)}
                />
              </Field>
            )}
            <Field
              label="Reason"
              hint="Stays in the ledger and in the audit log. The organization reads it in its bill."
            >
              <TextArea
                value={reason}
                maxLength={500}
                rows={3}
                onChange={(event) => setReason(event.target.value.replace(/[\r\n]+/g, ' '))}
              />
            </Field>
          </>
        )}
      </form>
      {operation.error ? <Refusal error={operation.error} title="Nothing was changed" /> : null}
    </Dialog>
  );
}

type ReviewProps = Omit<Props, 'onClose'> & { readonly amount: number | null; readonly reason: string };

function Review({ organization, kind, amount, reason }: ReviewProps) {
  return (
    <>
      {effects(kind, organization, amount).map((effect) => (
        <p key={effect}>{effect}</p>
      ))}
      <p>
        Reason: <q>{reason}</q>
      </p>
      <p className="muted">Written to the audit log as you.</p>
    </>
  );
}
