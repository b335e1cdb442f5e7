import { queryOptions, useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { api, unwrap } from '../../api/client';
import type { SchemaOrganizationLimit } from '../../api/openapi.gen';
import type { Organization } from '../../api/operations';
import { client } from '../../data/client';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Field, TextInput } from '../../ui/field';
import { count } from '../../ui/format';
import { Refusal } from '../../ui/refusal';
import { Load, Skeleton } from '../../ui/states';
import { LIMITS } from '../credits/limit-words';
import { UsageMeter } from '../credits/usage-meter';
import { type Changes, changesOf, type Drafts, effectsOf, valueIn } from './limit-effects';

const options = (organizationId: string) =>
  queryOptions({
    queryKey: ['organization-limits', organizationId],
    queryFn: async ({ signal }) =>
      (
        await unwrap(
          api.GET('/api/v1/admin/organizations/{organizationId}/limits', {
            params: { path: { organizationId } },
            signal,
          }),
        )
      ).data,
  });

const send = async (organizationId: string, changes: Changes) =>
  (
    await unwrap(
      api.PATCH('/api/v1/admin/organizations/{organizationId}/limits', {
        body: changes,
        params: { path: { organizationId } },
      }),
    )
  ).data;

type Props = { readonly organization: Organization; readonly onClose: () => void };

/** What an organization may have and has. First the values, then what they will do. */
export function LimitsDialog({ organization, onClose }: Props) {
  const query = useQuery(options(organization.id), client);
  const [drafts, setDrafts] = useState<Drafts>({});
  const [reviewed, setReviewed] = useState<Changes | null>(null);
  const operation = useOperation((changes: Changes) => send(organization.id, changes), {
    // The same values once more change nothing.
    repeatable: true,
    touches: [['organization-limits', organization.id], ['limits']],
    onDone: () => {
      toast({ tone: 'ok', text: `The limits of ${organization.name} are changed.` });
      onClose();
    },
  });
  // A second Enter must not confirm what the first one asked for.
  const back = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (reviewed) back.current?.focus();
  }, [reviewed]);
  const limits = query.data?.limits ?? [];
  const changes = changesOf(limits, drafts);
  const ready = changes !== null && Object.keys(changes).length > 0;
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    if (reviewed) operation.run(reviewed);
    else if (ready) setReviewed(changes);
  };
  const edit = () => {
    operation.reset();
    setReviewed(null);
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Limits: ${organization.name}`}
      footer={
        <>
          <Button ref={back} onClick={reviewed ? edit : onClose}>
            {reviewed ? 'Back' : 'Cancel'}
          </Button>
          <Button type="submit" form="limits" look="primary" disabled={!ready} busy={operation.busy}>
            {reviewed ? 'Change them' : 'Review'}
          </Button>
        </>
      }
    >
      <form id="limits" className="stack" onSubmit={submit}>
        {reviewed ? (
          <>
            <ul className="stack">
              {effectsOf(organization.name, limits, reviewed).map((effect) => (
                <li key={effect}>{effect}</li>
              ))}
            </ul>
            <p className="muted">It holds from now on. Written to the audit log as you.</p>
          </>
        ) : (
          <Load query={query} what="This organization" skeleton={<Skeleton lines={7} height="2.25rem" />}>
            {({ limits: all }) => (
              <div className="stack">
                {all.map((limit) => (
                  <LimitField
                    key={limit.limit}
                    limit={limit}
                    draft={drafts[limit.limit]}
                    onChange={(text) => setDrafts((old) => ({ ...old, [limit.limit]: text }))}
                  />
                ))}
              </div>
            )}
          </Load>
        )}
      </form>
      {operation.error ? <Refusal error={operation.error} title="Nothing was changed" /> : null}
    </Dialog>
  );
}

type LimitFieldProps = {
  readonly limit: SchemaOrganizationLimit;
  readonly draft: string | undefined;
  readonly onChange: (text: string) => void;
};

function LimitField({ limit, draft, onChange }: LimitFieldProps) {
  const { label, note } = LIMITS[limit.limit];
  const isWrong = draft !== undefined && valueIn(draft, limit) === undefined;
  return (
    <Field
      label={`${label} (${note})`}
      hint={
        <>
          Empty is the default, {count(limit.default)}. Used: <UsageMeter amount={limit} />
        </>
      }
      error={
        isWrong
          ? `It must be a whole number from ${count(limit.minimum)} to ${count(limit.maximum)}, or empty for the default.`
          : null
      }
    >
      <TextInput
        value={draft ?? (limit.override === null ? '' : String(limit.override))}
        inputMode="numeric"
        autoComplete="off"
        placeholder={String(limit.default)}
        onChange={(event) => onChange(event.target.value)}
      />
    </Field>
  );
}
