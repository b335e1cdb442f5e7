import { useState } from 'react';
import { api, unwrap } from '../../api/client';
import { keys } from '../../api/keys';
import { client } from '../../data/client';
import { useOperation } from '../../data/operation';
import { useWhyNot } from '../../data/session';
import { useSettings } from '../../data/settings';
import { toast } from '../../data/toasts';
import { Button } from '../../ui/button';
import { Link } from '../../ui/link';
import { Page } from '../../ui/page';
import { Refusal } from '../../ui/refusal';
import { Load, Skeleton } from '../../ui/states';
import { Status } from '../../ui/status';
import { SettingsFields } from './fields';
import { type Changes, changesOf, type Drafts, formOf, unsaved } from './form';
import css from './page.module.css';
import { Webhooks } from './webhooks';
import { settingsSentence } from './words';

const send = async (body: Changes) => (await unwrap(api.PATCH('/api/v1/settings', { body }))).data;

/** What the organization wants to be told, and where. Drafts lie above what the server says, and outlive a refusal. */
export default function Settings() {
  const query = useSettings();
  const blocked = useWhyNot('configure');
  const [drafts, setDrafts] = useState<Drafts>({});
  const save = useOperation(send, {
    // The same values once more change nothing.
    repeatable: true,
    touches: [keys.settings, keys.credit],
    onDone: (settings) => {
      // Or the form would show the old values until they are asked for again.
      client.setQueryData(keys.settings, settings);
      setDrafts((now) => unsaved(now, settings));
      toast({ tone: 'ok', text: 'The settings are saved.' });
    },
  });
  // Shown at once; a refusal brings back what holds.
  const shown = query.data && save.busy && save.asked ? { ...query.data, ...save.asked } : query.data;
  return (
    <Page title="Settings" query={query} sentence={shown ? settingsSentence(shown) : null}>
      <Load query={query} skeleton={<Skeleton lines={6} height="2.25rem" />}>
        {(settings) => {
          const form = { ...formOf(settings), ...drafts };
          const changes = changesOf(settings, form);
          const ready = changes !== null && Object.keys(changes).length > 0;
          const submit = (event: React.FormEvent) => {
            event.preventDefault();
            if (ready && !blocked && !save.busy) save.run(changes);
          };
          const change = (changed: Drafts) => {
            if (!save.busy) save.reset();
            setDrafts((old) => ({ ...old, ...changed }));
          };
          const discard = () => {
            save.reset();
            setDrafts({});
          };
          return (
            <>
              <form onSubmit={submit} className={`stack ${css.form}`} noValidate>
                {blocked ? (
                  <p>
                    <Status tone="warn">{blocked}.</Status> <Link href="/account">What you may do</Link>
                  </p>
                ) : null}
                <SettingsFields form={form} change={change} error={save.error} blocked={blocked} />
                {save.error ? <Refusal error={save.error} title="Nothing was changed" /> : null}
                <div className="row">
                  <Button type="submit" look="primary" blocked={blocked} disabled={!ready} busy={save.busy}>
                    {save.busy ? 'Saving…' : 'Save'}
                  </Button>
                  {Object.keys(drafts).length > 0 && !save.busy ? (
                    <Button look="quiet" onClick={discard}>
                      Discard changes
                    </Button>
                  ) : null}
                </div>
              </form>
              <Webhooks settings={settings} blocked={blocked} />
            </>
          );
        }}
      </Load>
    </Page>
  );
}
