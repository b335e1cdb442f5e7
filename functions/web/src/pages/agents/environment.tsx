import { Eye, EyeOff, Plus, X } from 'lucide-react';
import { useState } from 'react';
import { Button, IconButton } from '../../ui/button';
import { TextInput } from '../../ui/field';
import css from './environment.module.css';

export type Variable = { readonly id: number; readonly name: string; readonly value: string };

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
let last = 0;
const fresh = (name = '', value = ''): Variable => {
  last += 1;
  return { id: last, name, value };
};

export function badName({ name, value }: Pick<Variable, 'name' | 'value'>): string | null {
  if (!name.trim()) return value ? 'A value has no name.' : null;
  return NAME.test(name.trim()) ? null : `“${name}” is no name: letters, digits and _, not beginning with a digit.`;
}

/** The lines of a .env file. Quotes around a value go, comments and empty lines too. */
export function parseEnv(text: string): { name: string; value: string }[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line);
    if (!match?.[1]) return [];
    const value = match[2] ?? '';
    const quoted = /^(["'])(.*)\1$/.exec(value);
    return [{ name: match[1], value: quoted?.[2] ?? value }];
  });
}

type Props = {
  readonly variables: readonly Variable[];
  readonly tried: boolean;
  readonly onChange: (variables: readonly Variable[]) => void;
};

/** Values are secrets as a rule: masked, never read back from the server, gone when the dialog closes. */
export function Environment({ variables, tried, onChange }: Props) {
  const [visible, setVisible] = useState(false);
  const put = (id: number, change: Partial<Variable>) =>
    onChange(variables.map((variable) => (variable.id === id ? { ...variable, ...change } : variable)));
  const paste = (event: React.ClipboardEvent, at: Variable) => {
    const found = parseEnv(event.clipboardData.getData('text'));
    if (found.length === 0) return;
    event.preventDefault();
    const others = variables.filter((variable) => variable.id !== at.id || variable.value);
    const names = new Set(found.map((one) => one.name));
    onChange([
      ...others.filter((variable) => !names.has(variable.name)),
      ...found.map((one) => fresh(one.name, one.value)),
    ]);
  };
  const error = tried ? variables.map(badName).find(Boolean) : null;
  return (
    <fieldset className={css.set}>
      <legend className={css.legend}>Environment</legend>
      {variables.map((variable, index) => (
        <div key={variable.id} className={css.row}>
          <TextInput
            className="mono"
            aria-label={`Name of variable ${index + 1}`}
            placeholder="NAME, or paste a .env file"
            value={variable.name}
            autoComplete="off"
            spellCheck={false}
            aria-invalid={(tried && badName(variable) !== null) || undefined}
            onPaste={(event) => paste(event, variable)}
            onChange={(event) => put(variable.id, { name: event.target.value })}
          />
          <TextInput
            className="mono"
            type={visible ? 'text' : 'password'}
            aria-label={`Value of variable ${index + 1}`}
            placeholder="value"
            value={variable.value}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => put(variable.id, { value: event.target.value })}
          />
          <IconButton
            label={`Remove variable ${index + 1}`}
            onClick={() => onChange(variables.filter(({ id }) => id !== variable.id))}
          >
            <X size={16} aria-hidden="true" />
          </IconButton>
        </div>
      ))}
      {error ? (
        <p role="alert" className={css.error}>
          {error}
        </p>
      ) : null}
      <div className="row">
        <Button small onClick={() => onChange([...variables, fresh()])}>
          <Plus size={14} aria-hidden="true" /> Add a variable
        </Button>
        {variables.length > 0 ? (
          <Button small look="quiet" aria-pressed={visible} onClick={() => setVisible(!visible)}>
            {visible ? <EyeOff size={14} aria-hidden="true" /> : <Eye size={14} aria-hidden="true" />}
            {visible ? 'Hide the values' : 'Show the values'}
          </Button>
        ) : null}
      </div>
    </fieldset>
  );
}
