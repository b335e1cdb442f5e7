import { useState } from 'react';
import { ApiError } from '../../api/errors';
import { keys } from '../../api/keys';
import type { Agent, Config } from '../../api/operations';
import { act } from '../../data/agent-actions';
import { useConfig, useCredit } from '../../data/credit';
import { useOperation } from '../../data/operation';
import { useWhyNot } from '../../data/session';
import { toast } from '../../data/toasts';
import { Button, ButtonLink } from '../../ui/button';
import { Checkbox, Field, Select, TextInput } from '../../ui/field';
import { span, unitPrice } from '../../ui/format';
import { Refusal } from '../../ui/refusal';
import { Status } from '../../ui/status';
import { createAgent } from './create-agent';
import { badName, Environment, type Variable } from './environment';

type Props = {
  readonly onTyped: (typed: boolean) => void;
  readonly onCreated: (agent: Agent, started: boolean) => void;
};

const OTHER = 'other';

export function CreateForm({ onTyped, onCreated }: Props) {
  const config = useConfig().data;
  const credit = useCredit().data;
  const blocked = useWhyNot('create');
  const [name, setName] = useState('');
  const [image, setImage] = useState('');
  const [other, setOther] = useState('');
  const [variables, setVariables] = useState<readonly Variable[]>([]);
  const [start, setStart] = useState(true);
  const [tried, setTried] = useState(false);

  const create = useOperation(createAgent, {
    keyed: true,
    repeatable: true,
    touches: [keys.agents, keys.credit],
    onDone: (agent) => {
      onTyped(false);
      if (start) act({ kind: 'start', agent });
      else
        toast({
          tone: 'ok',
          text: `${agent.agentName} is created. It costs nothing until it starts.`,
          link: { to: `/agents/${agent.id}`, label: 'Show' },
        });
      onCreated(agent, start);
    },
  });

  const missing = credit ? credit.requiredForNextAgent - credit.balance : 0;
  const nameError =
    name.trim() === '' ? 'Give it a name.' : name.trim().length > 100 ? 'At most 100 characters.' : null;
  const imageError = image === OTHER && !other.trim() ? 'Enter an image.' : null;
  const bad = nameError ?? imageError ?? variables.map(badName).find(Boolean) ?? null;
  const touch = () => onTyped(true);

  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (bad || missing > 0 || create.busy) return;
    const dockerImage = image === OTHER ? other.trim() : '';
    const filled = variables.filter((variable) => variable.name.trim());
    create.run({
      agentName: name.trim(),
      ...(dockerImage ? { dockerImage } : {}),
      ...(filled.length > 0
        ? { environmentVars: Object.fromEntries(filled.map(({ name: key, value }) => [key.trim(), value])) }
        : {}),
    });
  };

  return (
    <form onSubmit={submit} className="stack" noValidate>
      {blocked ? <Status tone="warn">{blocked}.</Status> : null}
      <Field label="Name" error={tried ? nameError : null}>
        <TextInput
          value={name}
          maxLength={200}
          autoComplete="off"
          data-first
          onChange={(event) => {
            setName(event.target.value);
            touch();
          }}
        />
      </Field>
      <ImageField
        config={config}
        image={image}
        other={other}
        error={tried ? imageError : null}
        onImage={setImage}
        onOther={setOther}
      />
      <Environment
        variables={variables}
        tried={tried}
        onChange={(next) => {
          setVariables(next);
          touch();
        }}
      />
      <Checkbox label="Start at once" checked={start} onChange={(event) => setStart(event.target.checked)} />
      {config ? <p className="muted">{price(config, credit)}</p> : null}
      {missing > 0 && credit ? (
        <Refusal
          error={
            new ApiError({
              kind: 'http',
              status: 402,
              message: '',
              payment: { required: credit.requiredForNextAgent, current: credit.balance },
            })
          }
          title="Too little credit"
          actions={
            <ButtonLink small href="/credits">
              Look at the credit
            </ButtonLink>
          }
        />
      ) : null}
      {create.error ? <Refusal error={create.error} title="Not created" /> : null}
      <div className="row">
        <Button type="submit" look="primary" blocked={blocked} busy={create.busy} disabled={missing > 0}>
          {create.busy ? 'Creating…' : start ? 'Create and start' : 'Create'}
        </Button>
      </div>
    </form>
  );
}

function price(
  config: Config,
  credit: { hoursLeft: number | null; balance: number; burnPerHour: number } | undefined,
): string {
  const rate = `${unitPrice(config.prices.running)} an hour while it runs, ${unitPrice(config.prices.idle)} an hour for its backups while it is stopped or has failed.`;
  if (!credit) return rate;
  const hours = credit.balance / (credit.burnPerHour + config.prices.running);
  return hours > 0 ? `${rate} With it, your credit lasts for ${span(hours * 3_600_000)}.` : rate;
}

type ImageProps = {
  readonly config: Config | undefined;
  readonly image: string;
  readonly other: string;
  readonly error: string | null;
  readonly onImage: (image: string) => void;
  readonly onOther: (image: string) => void;
};

function ImageField({ config, image, other, error, onImage, onOther }: ImageProps) {
  const prefixes = config?.imagePrefixes ?? [];
  return (
    <>
      <Field label="Image" hint={image === OTHER ? undefined : config?.defaultImage}>
        <Select value={image} onChange={(event) => onImage(event.target.value)}>
          <option value="">The usual image</option>
          {prefixes.length > 0 ? <option value={OTHER}>Another image</option> : null}
        </Select>
      </Field>
      {image === OTHER ? (
        <Field label="Address of the image" hint={`It must begin with ${prefixes.join(' or ')}`} error={error}>
          <TextInput
            className="mono"
            value={other}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => onOther(event.target.value)}
          />
        </Field>
      ) : null}
    </>
  );
}
